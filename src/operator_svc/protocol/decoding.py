"""Decoding of what clients send: bytes and queries to structs, with errors that name each field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Json

S = TypeVar("S", bound=msgspec.Struct)
Fault: TypeAlias = tuple[str, str]
"""The name of a field and what is wrong with it, in words for the client."""

_PATH = re.compile(r" - at `(?:key )?\$\.?(?P<path>[^`]*)`$")
MAX_DEPTH = 100
"""Levels of nesting that a client's JSON may have; far below what decoders can bear."""


def decode(body: bytes | str, struct: type[S]) -> S:
    """Decode a JSON object into ``struct``; unknown fields are ignored.

    Raises OperatorError: invalid_json for what is not JSON or nested too deep, and
    validation_error naming each field that is wrong, holds NUL or half a surrogate pair.
    """
    if isinstance(body, bytes) and _is_simple(body):
        try:
            decoded: S = _decoder(struct).decode(body)
            return decoded
        except (msgspec.DecodeError, UnicodeError):
            pass  # the slow way finds all that is wrong with it
    return convert(loads(body), struct)


def _is_simple(body: bytes) -> bool:
    """True where ``body`` can neither be nested too deep nor hold NUL."""
    return body.count(b"{") + body.count(b"[") <= MAX_DEPTH and b"\\u0000" not in body


@lru_cache(maxsize=256)
def _decoder(struct: type[S]) -> msgspec.json.Decoder[S]:
    return msgspec.json.Decoder(struct)


def loads(body: bytes | str) -> Any:
    """The JSON value of ``body``, to be given to ``convert``. Raises as ``decode`` does."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        _raise_for_surrogates(body)
        raise OperatorError(ErrorCode.INVALID_JSON, "the body is not valid JSON") from error


def convert(plain: Any, struct: type[S], *, strict: bool = True) -> S:
    """Turn a decoded JSON value into ``struct``; ``strict=False`` reads numbers from text."""
    if not isinstance(plain, dict):
        raise OperatorError.invalid("body", "it must be a JSON object")
    _check_depth(plain)
    check(_nul_faults(plain, ""))
    try:
        return msgspec.convert(plain, struct, strict=strict)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(_whole(plain), struct, strict=strict)
    except msgspec.ValidationError:
        raise _invalid(list(_faults(plain, struct, strict))) from None


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
    for info in msgspec.structs.fields(struct):
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


def _faults(plain: Mapping[str, Any], struct: type[S], strict: bool) -> Iterator[Fault]:
    for info in msgspec.structs.fields(struct):
        if info.encode_name not in plain:
            if info.required:
                yield info.encode_name, "it is missing"
            continue
        try:
            msgspec.convert(plain[info.encode_name], info.type, strict=strict)
        except msgspec.ValidationError as error:
            yield _named(info.encode_name, str(error))


def _named(name: str, message: str) -> Fault:
    """msgspec ends its message with the path of the fault within the value."""
    found = _PATH.search(message)
    if found is None:
        return name, message
    path = found["path"].replace("[...]", "")  # a value of an object, whose key it does not tell
    joined = name + (path if path.startswith("[") or not path else f".{path}")
    return joined, message[: found.start()]


def _check_depth(value: Json) -> None:
    if is_too_deep(value):
        raise OperatorError(
            ErrorCode.INVALID_JSON, f"the body is nested deeper than {MAX_DEPTH} levels"
        )


def is_too_deep(value: Json) -> bool:
    """True where a JSON value is nested deeper than ``MAX_DEPTH`` levels."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


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
        _check_depth(plain)
        check(_surrogate_faults(plain, ""))


def _surrogate_faults(value: Any, path: str) -> Iterator[Fault]:
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
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
