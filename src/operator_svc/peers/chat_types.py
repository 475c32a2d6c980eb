"""Prompt and answer of a chat, in terms that all dialects share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from operator_svc.errors import OperatorError
from operator_svc.models import Json
from operator_svc.peers.peer_errors import message_of
from operator_svc.protocol.engine_fields import NO_ENGINE_FIELDS, EngineFields
from operator_svc.protocol.text import loads, storable, storable_json

REPORTED = "it reported a failure"
MAX_LABEL = 200
"""Characters kept of a name that an upstream gives: a model, an engine, a finish reason."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """One question to an upstream. ``history`` is oldest first, ``{"role", "content"}`` each; a
    turn that was more than text has ``messages`` of chat completions, too."""

    message: str
    session_id: str
    user_id: str
    history: list[dict[str, Any]] = []
    context_summary: str | None = None
    provider_hint: str | None = None
    metadata: dict[str, Any] = {}
    engine: EngineFields = NO_ENGINE_FIELDS


class Text(msgspec.Struct, frozen=True, gc=False, tag="token"):
    """A piece of the reply's text, never empty, made storable."""

    content: str


class Reasoning(msgspec.Struct, frozen=True, gc=False, tag="reasoning"):
    """A piece of the model's reasoning, never empty, made storable."""

    content: str


class ToolCallPart(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model called; ``raw`` is all that came of it, made storable.

    ``arguments`` are the text as it came where ``broken_arguments``: they are no JSON.
    """

    name: str
    arguments: Json = None
    broken_arguments: bool = False
    id: str | None = None
    raw: dict[str, Json] = {}


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """End of a reply; a field is None where the upstream does not give it.

    ``latency_ms`` is the upstream's own figure, else the time from the call to here.
    ``streamed`` is False where the whole reply came as one JSON answer. ``content_type`` is
    ``json`` where the reply's text is the JSON of content that was no text. ``usage`` has
    counts of tokens by their names in OpenAI's protocol. ``tool_calls_truncated`` says that the
    answer had more tool calls than are read of one.
    """

    provider: str | None = None
    decision: str | None = None
    finish_reason: str | None = None
    content_type: str | None = None
    latency_ms: float | None = None
    tokens_used: int | None = None
    usage: dict[str, int] = {}
    reasoning: str | None = None
    streamed: bool = True
    tool_calls_truncated: bool = False


Part: TypeAlias = Text | Reasoning | ToolCallPart | Done


class ChatError(OperatorError):
    """Raised for a chat that failed; its cause is the error in detail.

    ``ending`` is as much as is known of the reply's end: its provider is who answered, or else
    who was asked for by name.
    """

    def __init__(self, error: OperatorError, ending: Done) -> None:
        super().__init__(error.code, error.detail, retry_after=error.retry_after)
        self.ending = ending


class AnswerError(Exception):
    """Raised for an answer that is cut off or cannot be read.

    ``detail`` may be shown to a client. ``said`` is the peer's own message; ``raw`` is a piece
    of an answer that could not be read: anything, the reply's text too.
    """

    def __init__(self, detail: str, said: str = "", raw: object = b"") -> None:
        super().__init__(detail)
        self.detail = detail
        self.said = said
        self.raw = raw
        self.parts: list[Part] = []
        """Parts that came before it in the same read, and are kept."""


class CutError(AnswerError):
    """Raised for an answer that ends without having said so."""

    def __init__(self) -> None:
        super().__init__("its answer was cut off")


class ReportedError(AnswerError):
    """Raised for a failure that the upstream reports properly.

    ``busy`` where it says that there were too many calls.
    """

    def __init__(self, detail: str, said: str = "", *, busy: bool = False) -> None:
        super().__init__(detail, said)
        self.busy = busy


def reported(error: Json) -> ReportedError:
    """A failure that an answer reports as ``error``, an object or a text."""
    kinds = [error.get(n) for n in ("code", "status", "type")] if isinstance(error, dict) else []
    busy = any(str(kind) == "429" or str(kind).startswith("rate_limit") for kind in kinds)
    return ReportedError(REPORTED, message_of(error), busy=busy)


class NoAnswerError(AnswerError):
    """Raised for a response that ends properly, with neither text nor a tool call."""


class AnswerTooLargeError(AnswerError):
    """Raised for an answer with more than is read, or kept, of one."""


def text_or_none(value: Json) -> str | None:
    """``value`` if it is a text that is not empty."""
    return value if isinstance(value, str) and value else None


def label_or_none(value: Json) -> str | None:
    """``value`` as a name that can be stored, if it is one."""
    return storable(value)[:MAX_LABEL] if isinstance(value, str) and value else None


def count_or_none(value: Json) -> int | None:
    """``value`` as a count if it is one: not negative, and small enough for a database."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < 2**31 else None


def milliseconds_or_none(value: Json) -> float | None:
    """``value`` as a duration if it is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < 2**31 else None


def json_object(data: bytes, read: Callable[[bytes], Json] = loads) -> dict[str, Json]:
    """``data`` as a JSON object; raises AnswerError."""
    try:
        value = read(data)
    except ValueError as error:
        raise AnswerError("its answer is not JSON", raw=data) from error
    if not isinstance(value, dict):
        raise AnswerError("its answer is no JSON object", raw=data)
    return value


def json_text(value: Json) -> str:
    """``value`` as JSON, storable; raises RecursionError."""
    return msgspec.json.encode(storable_json(value)).decode()


def parsed_arguments(arguments: Json) -> tuple[Json, bool]:
    """A tool call's arguments, which come as JSON or as its text; True where they are neither."""
    if not isinstance(arguments, str):
        return arguments, False
    if not arguments.strip():
        return None, False
    try:
        return storable_json(loads(arguments.encode("utf-8", "surrogatepass"))), False
    except ValueError:
        return storable(arguments), True


def after_parts(error: AnswerError | RecursionError, parts: list[Part]) -> AnswerError:
    """``error`` with the parts before it, which are kept."""
    fault = error if isinstance(error, AnswerError) else AnswerError("it is nested too deeply")
    fault.parts = parts
    return fault


def is_part(item: Json) -> bool:
    """True for an item of a content that is a list of parts."""
    return isinstance(item, dict) and isinstance(item.get("type"), str)
