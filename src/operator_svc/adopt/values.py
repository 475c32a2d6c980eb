"""Single values of a legacy database, made into what the new tables take.

SQLite keeps any type in any column, and nothing was checked when the rows were written. Each
function gives the value and notes in ``Fixes`` where it had to change what it was given.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import re
from typing import Any, NamedTuple

import msgspec

from operator_svc.models import Json
from operator_svc.protocol.decoding import is_too_deep
from operator_svc.protocol.text import is_storable, storable, storable_json

MAX_COUNT = 2**53
"""Numbers beyond are no durations, and no JavaScript client could read them."""

_FROM_MILLISECONDS = 10**11
"""A number of seconds since 1970 stays below for three thousand years."""
_COSTLY_NUMBER = re.compile(r"[eE][+-]?\d{4}|\d{400}")
"""Numbers that PostgreSQL cannot take, or only with great effort."""
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off", ""})


class Fixes:
    """The reasons for which the row in hand had to be mended."""

    def __init__(self) -> None:
        self._reasons: set[str] = set()

    def note(self, reason: str) -> None:
        """Add a reason for which the row was mended."""
        self._reasons.add(reason)

    def take(self) -> set[str]:
        """The reasons; the next row begins without any."""
        reasons, self._reasons = self._reasons, set()
        return reasons


def text(value: Any, fixes: Fixes, what: str) -> str | None:
    """Text that can be stored; None for NULL. A number becomes its digits."""
    if value is None:
        return None
    if type(value) is not str:
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        fixes.note(f"{what} was no text")
    if is_storable(value):
        return str(value)
    fixes.note(f"{what} had characters that cannot be stored")
    return storable(value)


def short(value: Any, fixes: Fixes, what: str, most: int) -> str | None:
    """Text of at most ``most`` characters, its end replaced by a hash of it where it is longer:
    two that differ stay different."""
    known = text(value, fixes, what)
    if known is None or len(known) <= most:
        return known
    fixes.note(f"{what} was too long")
    return f"{known[: most - 17]}-{hashlib.sha256(known.encode()).hexdigest()[:16]}"


def moment(value: Any, fixes: Fixes, what: str) -> dt.datetime | None:
    """A time; without a zone it is UTC, as the legacy backend wrote it. None where there is none or
    it cannot be read. A number is seconds or milliseconds since 1970."""
    if value is None:
        return None
    try:
        if type(value) is str:
            read = dt.datetime.fromisoformat(value)
            return read.replace(tzinfo=dt.UTC) if read.tzinfo is None else read.astimezone(dt.UTC)
        if isinstance(value, int | float):
            fixes.note(f"{what} was a number")
            seconds = value / 1000 if abs(value) >= _FROM_MILLISECONDS else value
            return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (ValueError, OverflowError, OSError):
        pass
    fixes.note(f"{what} was no time")
    return None


def count(value: Any, fixes: Fixes, what: str) -> int | None:
    """A whole number that is not negative; None for NULL and for what is no such number."""
    if value is None or (type(value) is int and 0 <= value <= MAX_COUNT):
        return value
    try:
        number = float(value)
        if math.isfinite(number) and 0 <= number <= MAX_COUNT:
            fixes.note(f"{what} was no whole number")
            return round(number)
    except (TypeError, ValueError):
        pass
    fixes.note(f"{what} was no possible number")
    return None


def flag(value: Any, fixes: Fixes, what: str) -> bool | None:
    """Yes or no; None for NULL and for what is neither."""
    if value is None or value in (0, 1):
        return None if value is None else bool(value)
    if isinstance(value, int | float):
        fixes.note(f"{what} was neither 0 nor 1")
        return True
    said = str(text(value, Fixes(), what)).strip().lower()
    if said in _TRUE or said in _FALSE:
        fixes.note(f"{what} was neither 0 nor 1")
        return said in _TRUE
    fixes.note(f"{what} was neither yes nor no")
    return None


class Parsed(NamedTuple):
    """A column of JSON text. ``plain`` is the text, ready to be stored, None where there was
    nothing; ``value`` what it says. ``broken`` text is no JSON: then ``value`` is the text."""

    plain: str | None
    value: Json
    broken: bool = False

    @classmethod
    def of(cls, value: Json, broken: bool = False) -> Parsed:
        """A value, and its text."""
        return cls(msgspec.json.encode(value).decode(), value, broken)


NO_JSON = Parsed(None, None)


def parsed(raw: Any, fixes: Fixes, what: str) -> Parsed:
    """Read a column of JSON text. Text that is no JSON, or none that can be stored, is kept as
    a JSON string."""
    if raw is None:
        return NO_JSON
    if type(raw) is not str:
        raw = raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else str(raw)
    if not raw.strip():
        return NO_JSON
    value = _read(raw)
    if value is _BROKEN:
        fixes.note(f"{what} was no JSON and is kept as text")
        return Parsed.of(storable(raw), broken=True)
    if value is None:
        return NO_JSON
    if "\\u" not in raw and is_storable(raw) and not _COSTLY_NUMBER.search(raw):
        return Parsed(raw, value)
    mended = storable_json(value)
    if mended != value:
        fixes.note(f"{what} had characters that cannot be stored")
    return Parsed.of(mended)


_BROKEN = object()


def _read(raw: str) -> Any:
    """The value of JSON text; _BROKEN where it is none, or nested deeper than clients may send."""
    try:
        value = _decoded(raw)
    except (ValueError, RecursionError):
        return _BROKEN
    return _BROKEN if is_too_deep(value) else value


def _decoded(raw: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError):
        # It does not take halves of surrogate pairs.
        return json.loads(raw, parse_constant=_refuse, parse_float=_finite)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("the number is too large")
    return number


def object_of(read: Parsed, key: str) -> dict[str, Json] | None:
    """``read`` as an object: what is none stands under ``key``; None where there was nothing."""
    if read.plain is None:
        return None
    return read.value if isinstance(read.value, dict) else {key: read.value}


def mark(*values: Any) -> str:
    """Sixteen hex digits that tell rows with the same id from each other."""
    plain = "\x1f".join(map(str, values)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(plain, digest_size=8).hexdigest()
