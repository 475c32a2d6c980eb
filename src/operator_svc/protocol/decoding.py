"""Decoding of what clients send: bytes and queries to structs, with errors that name each field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Json
from operator_svc.protocol.faults import Fault, complaint, named, with_key
from operator_svc.protocol.text import is_storable, outside_texts, without_escapes

S = TypeVar("S", bound=msgspec.Struct)
_INTEGER_WANTED = re.compile(r"Expected `[^`]*\bint\b[^`]*`, got `float`").match
MAX_DEPTH = 100
"""Levels of nesting that a client's JSON may have; far below what decoders can bear."""
MAX_CONTAINERS = 100_000
"""Objects and arrays that a client's JSON may have. The collector of garbage looks at each, while
the whole process waits; a megabyte of text and numbers needs a few thousand."""


def decode(body: bytes | str, struct: type[S]) -> S:
    """Decode a JSON object into ``struct``; unknown fields are ignored.

    Raises OperatorError: invalid_json for what is not JSON or nested too deep, and
    validation_error naming each field that is wrong, holds NUL or half a surrogate pair.
    """
    if isinstance(body, bytes) and (decoded := _decoded(body, struct)) is not None:
        return decoded
    return convert(loads(body), struct)


def _decoded(body: bytes, struct: type[S]) -> S | None:
    """``body`` where nothing is wrong with it; the slow way finds all that is."""
    try:
        decoded: S | None = _decoder(struct).decode(body) if _is_simple(body) else None
    except (msgspec.DecodeError, UnicodeError):
        return None
    return decoded


def _is_simple(body: bytes) -> bool:
    """True where ``body`` can neither be nested too deep nor hold NUL."""
    return _brackets(body) <= MAX_DEPTH and b"\\u0000" not in body


def _brackets(body: bytes) -> int:
    return body.count(b"{") + body.count(b"[")


def _check_containers(body: bytes) -> None:
    if _brackets(body) <= MAX_CONTAINERS:
        return
    if _brackets(outside_texts(without_escapes(body))) > MAX_CONTAINERS:
        raise OperatorError(
            ErrorCode.INVALID_JSON, f"the body has more than {MAX_CONTAINERS} objects and arrays"
        )


@lru_cache(maxsize=256)
def _decoder(struct: type[S]) -> msgspec.json.Decoder[S]:
    return msgspec.json.Decoder(struct)


def loads(body: bytes | str) -> Any:
    """The JSON value of ``body``, to be given to ``convert``. Raises as ``decode`` does."""
    _check_containers(body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"))
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        _raise_for_surrogates(body)
        raise OperatorError(ErrorCode.INVALID_JSON, "the body is not valid JSON") from error


def both(body: bytes, struct: type[S]) -> tuple[Any, S]:
    """The JSON value of ``body``, and the same as ``struct``. Raises as ``decode`` does."""
    if _is_simple(body):
        try:
            return msgspec.json.decode(body), _decoder(struct).decode(body)
        except (msgspec.DecodeError, UnicodeError):
            pass  # the slow way finds all that is wrong
    plain = loads(body)
    return plain, convert(plain, struct)


def convert(plain: Any, struct: type[S], *, strict: bool = True) -> S:
    """Turn a decoded JSON value into ``struct``; ``strict=False`` reads numbers from text."""
    if not isinstance(plain, dict):
        raise OperatorError.invalid("body", "it must be a JSON object")
    too_deep, holds_nul = _survey(plain)
    if too_deep:
        raise _too_deep()
    if holds_nul:
        check(_nul_faults(plain, ""))
    try:
        return msgspec.convert(plain, struct, strict=strict)
    except msgspec.ValidationError:
        pass
    mended, faults = _field_by_field(plain, struct, strict)
    check(faults)
    try:
        return msgspec.convert(mended, struct, strict=strict)
    except msgspec.ValidationError as error:
        raise _invalid([named("body", str(error))]) from None


def _field_by_field(
    plain: dict[str, Any], struct: type[msgspec.Struct], strict: bool
) -> tuple[dict[str, Any], list[Fault]]:
    """``plain`` with integers where a field wants them, and all that is wrong with it even so."""
    mended, faults = dict(plain), []
    for info in _fields(struct):
        name = info.encode_name
        if name not in plain:
            if info.required:
                faults.append((name, "it is missing"))
            continue
        said = complaint(plain[name], info.type, strict)
        if said is not None and _INTEGER_WANTED(said):
            mended[name] = _whole(plain[name])
            said = complaint(mended[name], info.type, strict)
        if said is not None:
            faults.append(named(with_key(name, plain[name], info.type, strict), said))
    return mended, faults


@lru_cache(maxsize=256)
def _fields(struct: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(struct)


def _whole(value: Any) -> Any:
    """``value`` with its whole numbers as integers: to JSON 1.0 is one, too."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_whole(child) for child in value]
    return value


def with_query(body: Json, query: Mapping[str, str], struct: type[msgspec.Struct]) -> Json:
    """``body`` with the fields of ``struct`` that only the query has, read from their text."""
    if not isinstance(body, dict):
        return body
    merged = dict(body)
    for info in _fields(struct):
        name = info.encode_name
        text = query.get(name)
        if text is not None and name not in body:
            merged[name] = _from_text(text, info.type)
    return merged


def _from_text(text: str, kind: Any) -> Any:
    """``text`` as ``kind``: numbers from their digits, objects and any JSON from their JSON.

    Text that is none of them stays as it is: ``convert`` names it with the other faults.
    """
    try:
        if kind is not Any:
            return msgspec.to_builtins(msgspec.convert(text, kind, strict=False), str_keys=True)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def check(faults: Iterable[Fault]) -> None:
    """Raise OperatorError(validation_error) that names all of ``faults``, if there are any."""
    if found := list(faults):
        raise _invalid(found)


def size_faults(name: str, value: Json, most: int) -> Iterator[Fault]:
    """The fault of a field that has more than ``most`` bytes as JSON."""
    if value is not None and len(msgspec.json.encode(value)) > most:
        yield name, f"it has more than {most} bytes as JSON"


def _invalid(faults: list[Fault]) -> OperatorError:
    shown = "; ".join(f"{name}: {reason}" for name, reason in faults[:5])
    return OperatorError(
        ErrorCode.VALIDATION_ERROR,
        shown,
        errors=[{"field": name, "reason": reason} for name, reason in faults],
    )


def _too_deep() -> OperatorError:
    return OperatorError(
        ErrorCode.INVALID_JSON, f"the body is nested deeper than {MAX_DEPTH} levels"
    )


def nests_too_deep(body: bytes) -> bool:
    """True where ``body``, which is JSON, is nested deeper than ``MAX_DEPTH`` levels."""
    return _brackets(body) > MAX_DEPTH and is_too_deep(msgspec.json.decode(body))


def is_too_deep(value: Json) -> bool:
    """True where a JSON value is nested deeper than ``MAX_DEPTH`` levels."""
    return _survey(value)[0]


def _survey(value: Json) -> tuple[bool, bool]:
    """True where a JSON value is nested too deep, and True where it holds U+0000 above that.

    A level at once and not a value after the other: there may be half a million.
    """
    level: list[Any] = [value]
    holds_nul = False
    for _ in range(MAX_DEPTH + 1):
        texts, lists, objects = _by_kind(level)
        if not holds_nul:
            keys = chain.from_iterable(filter(None, objects))
            holds_nul = "\0" in "".join(texts) or "\0" in "".join(keys)
        if not lists and not objects:
            return False, holds_nul
        objects = [*filter(None, objects)]  # of those without a field there may be most
        level = [*chain.from_iterable(lists), *chain.from_iterable(map(dict.values, objects))]
    return True, holds_nul


def _by_kind(values: list[Any]) -> Iterator[list[Any]]:
    """The texts, the arrays and the objects among ``values``."""
    kinds = set(map(type, values))
    for kind in (str, list, dict):
        if kind not in kinds:
            yield []
        elif len(kinds) == 1:
            yield values
        else:
            yield [value for value in values if value.__class__ is kind]


def _nul_faults(value: Any, path: str) -> Iterator[Fault]:
    if isinstance(value, str):
        if "\0" in value:
            yield path or "body", "it holds a NUL character"
    elif isinstance(value, dict):
        for key, child in value.items():
            if "\0" in key:
                yield path or "body", "a key holds a NUL character"
            else:
                yield from _nul_faults(child, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _nul_faults(child, f"{path}[{index}]")


def _raise_for_surrogates(body: bytes | str) -> None:
    """Half a surrogate pair is JSON by its grammar, but no text: name the field that has it."""
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError):
        return
    if isinstance(plain, dict):
        if is_too_deep(plain):
            raise _too_deep()
        check(_surrogate_faults(plain, ""))


def _surrogate_faults(value: Any, path: str) -> Iterator[Fault]:
    if isinstance(value, str):
        if not is_storable(value.replace("\0", "")):
            yield path or "body", "it holds half a surrogate pair"
    elif isinstance(value, dict):
        for key, child in value.items():
            if key.isprintable() and key.isascii():
                yield from _surrogate_faults(child, f"{path}.{key}" if path else key)
            else:
                yield from _surrogate_faults(child, path)
                yield from _surrogate_faults(key, path)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _surrogate_faults(child, f"{path}[{index}]")
