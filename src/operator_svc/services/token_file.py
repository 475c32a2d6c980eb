"""The file of tokens: one JSON object a line, ``{"name", "token", "role"?, "user_id"?}``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from operator_svc.errors import ConfigurationError
from operator_svc.models import Caller
from operator_svc.protocol.text import problem as text_problem
from operator_svc.settings import Settings

SETTING = "OPERATOR_TOKENS_FILE"
DEFAULT_NAME = "default"
"""The name of ``OPERATOR_TOKEN``."""
MAX_TOKENS = 1000
"""Tokens of one process; each has metrics of its own."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One token of the file. A ``client`` may chat; an ``operator`` may also adjust Switch."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}(?!\n)$")]
    token: Annotated[str, Meta(min_length=1, max_length=4096)]
    role: Literal["client", "operator"] = "client"
    user_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


_EXPECTED = {
    "name": "1 to 64 letters, digits, dots, underscores or hyphens",
    "token": "text of 1 to 4,096 characters",
    "role": "client or operator",
    "user_id": "text of 1 to 128 characters",
}
"""Values of the fields of a line, in words."""


def digest_of(token: str) -> bytes:
    """The SHA-256 digest under which a token is kept."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_tokens(settings: Settings) -> dict[bytes, Caller]:
    """The callers of all tokens, that of ``OPERATOR_TOKEN`` included, by their digests.

    Raises ConfigurationError with a sentence for each wrong line; no token stands in it.
    """
    known: dict[bytes, Caller] = {}
    if settings.token:
        known[digest_of(settings.token)] = Caller(DEFAULT_NAME, "operator")
    if not settings.tokens_file:
        return known
    names = {caller.name for caller in known.values()}
    faults: list[str] = []
    for number, raw in enumerate(_lines(settings.tokens_file), 1):
        if not raw.strip():
            continue
        fault = _take(raw, known, names)
        if fault is not None:
            faults.append(f"{SETTING}: {settings.tokens_file}, line {number}: {fault}")
    if len(known) > MAX_TOKENS:
        faults.append(f"{SETTING}: more than {MAX_TOKENS} tokens")
    if faults:
        raise ConfigurationError(faults)
    return known


def _lines(path: str) -> list[bytes]:
    try:
        return Path(path).read_bytes().splitlines()
    except OSError as error:
        raise ConfigurationError([f"{SETTING}: {path} cannot be read: {error.strerror}"]) from None


def _take(raw: bytes, known: dict[bytes, Caller], names: set[str]) -> str | None:
    """Add the token of a line, whose name is none of ``names``; returns its fault, if any, without
    quoting the line."""
    try:
        decoded = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return "it is not JSON"
    try:
        line = msgspec.convert(decoded, _Line)
    except msgspec.ValidationError:
        return _misfit(decoded)
    if not line.token.isascii() or not line.token.isprintable() or " " in line.token:
        return "the token must be ASCII without spaces, because it is sent in a header"
    if line.user_id is not None and (fault := text_problem(line.user_id)):
        return f"user_id {fault}"
    if line.name in names:
        return f"the name {line.name} stands twice"
    digest = digest_of(line.token)
    if digest in known:
        return f"{line.name} has the same token as {known[digest].name}"
    known[digest] = Caller(line.name, line.role, line.user_id)
    names.add(line.name)
    return None


def _misfit(decoded: object) -> str:
    """The reason why JSON is no line of the file, in words and without its values."""
    names = ", ".join(_EXPECTED)
    if not isinstance(decoded, dict):
        return f"it must be a JSON object with the fields {names}"
    for field in msgspec.structs.fields(_Line):
        if field.name not in decoded:
            if field.required:
                return f"the field {field.name} is missing"
            continue
        try:
            msgspec.convert(decoded[field.name], field.type)
        except msgspec.ValidationError:
            return f"{field.name} must be {_EXPECTED[field.name]}"
    return f"it has a field that is none of {names}"
