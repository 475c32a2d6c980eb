"""Faults of what clients send: which field is wrong, and what is wrong with it."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import msgspec

Fault: TypeAlias = tuple[str, str]
"""The name of a field and what is wrong with it, in words for the client."""
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`$")
_PATH = re.compile(r" - at `(?:key )?\$\.?(?P<path>[^`]*)`$")
MAX_KEYS_TRIED = 64
"""Entries of an object that are tried one by one for the one that is wrong."""


def complaint(value: Any, kind: Any, strict: bool) -> str | None:
    """The fault of ``value``, in msgspec's words; None where there is none."""
    try:
        msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def named(name: str, message: str) -> Fault:
    """The field that msgspec complains of, and its reason. A ``message`` ends with the path within
    the value of ``name``."""
    found = _PATH.search(message)
    joined, reason = name, message
    if found is not None:
        path = found["path"].replace("[...]", "")  # of an object, whose key it does not tell
        joined += path if path.startswith("[") or not path else f".{path}"
        reason = message[: found.start()]
    return joined, reason


def missing_field(fault: Fault) -> Fault:
    """A fault of an object that lacks a field as one of that field, by its whole name."""
    name, reason = fault
    if found := _MISSING.match(reason):
        return f"{name}.{found['name']}", "it is missing"
    return fault


def with_key(name: str, value: Any, kind: Any, strict: bool) -> str:
    """``name``, with the key of the entry that is wrong alone where ``value`` is an object whose
    entries are of one kind: msgspec does not tell it."""
    if isinstance(value, dict) and len(value) <= MAX_KEYS_TRIED:
        for key, child in value.items():
            said = complaint({key: child}, kind, strict)
            if said is not None and "`$[...]`" in said:
                return f"{name}.{key}"
    return name
