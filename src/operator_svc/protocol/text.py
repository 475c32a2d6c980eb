"""Text that can be stored and sent: what PostgreSQL or JSON cannot hold is replaced or refused.

Switch's text is mended (NUL and lone surrogate halves become U+FFFD, halves that were cut apart
are joined); a client's text is refused instead, so that it learns of its fault.
"""

from __future__ import annotations

import json

import msgspec

from operator_svc.models import Json

REPLACEMENT = "\ufffd"


def is_storable(text: str) -> bool:
    """True where ``text`` has neither U+0000 nor a surrogate half."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def problem(text: str) -> str | None:
    """The reason to refuse ``text`` of a client, in words for the client; None where it is good."""
    if "\0" in text:
        return "must not contain the character U+0000"
    if not is_storable(text):
        return "must not contain lone surrogates"
    return None


def storable(text: str) -> str:
    """``text`` with halves that stand side by side joined, and the rest of them replaced."""
    if is_storable(text):
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\0", REPLACEMENT)


def storable_json(value: Json) -> Json:
    """``value`` with every string in it, keys too, made storable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [storable_json(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): storable_json(item) for key, item in value.items()}
    return value


def loads_storable(data: bytes) -> Json:
    """As ``loads``, with every string made storable."""
    if b"\\u" not in data:
        try:
            return msgspec.json.decode(data)  # only an escape stands for what is not storable
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return storable_json(loads(data))


def without_escapes(data: bytes) -> bytes:
    """JSON whose every quotation mark begins or ends a text."""
    return data.replace(b"\\\\", b"").replace(b'\\"', b"")


def outside_texts(plain: bytes) -> bytes:
    """The parts of ``plain``, which is JSON ``without_escapes``, that no text has."""
    return b"".join(plain.split(b'"')[::2])


def loads(data: bytes) -> Json:
    """JSON of a peer, decoded leniently: invalid UTF-8 is replaced, and surrogate halves pass, so
    the result may not be storable. Raises ValueError for text that is not JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # strict about what the slower decoder takes
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class Storable:
    """Makes a text storable that comes in pieces; a pair may be cut apart between two of them.

    ``"".join([*map(s.feed, pieces), s.flush()]) == storable("".join(pieces))``
    """

    __slots__ = ("half",)

    def __init__(self) -> None:
        self.half = ""
        """The first half of a pair, kept back until the next piece shows whether it is one."""

    def feed(self, text: str) -> str:
        """The text that is complete after ``text``; may be empty."""
        if not self.half and is_storable(text):
            return text
        text = self.half + text
        self.half = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self.half = text[:-1], text[-1]
        return storable(text)

    def flush(self) -> str:
        """The text that was kept back, at the end of it."""
        half, self.half = self.half, ""
        return REPLACEMENT if half else ""
