"""Prompt and answer of a chat, in terms that all dialects share."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import msgspec

from operator_svc.models import Json
from operator_svc.protocol.text import loads, storable_json

NO_TEXT = "its answer has no text"


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """One question to Switch. ``history`` is oldest first, ``{"role", "content"}`` each."""

    message: str
    session_id: str
    user_id: str
    history: list[dict[str, str]] = []
    context_summary: str | None = None
    provider_hint: str | None = None
    metadata: dict[str, Any] = {}


class Text(msgspec.Struct, frozen=True, gc=False, tag="token"):
    """A piece of the reply's text, never empty, made storable."""

    content: str


class Reasoning(msgspec.Struct, frozen=True, gc=False, tag="reasoning"):
    """A piece of the model's reasoning, never empty, made storable."""

    content: str


class ToolCallPart(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model called; ``raw`` is all that came of it, made storable."""

    name: str
    arguments: Json = None
    id: str | None = None
    raw: dict[str, Json] = {}


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """End of a reply; a field is None where the upstream does not give it.

    ``latency_ms`` is the upstream's own figure, else the time from the call to here.
    ``streamed`` is False where the whole reply came as one JSON answer.
    """

    provider: str | None = None
    decision: str | None = None
    latency_ms: float | None = None
    tokens_used: int | None = None
    reasoning: str | None = None
    streamed: bool = True


Part: TypeAlias = Text | Reasoning | ToolCallPart | Done


class AnswerError(Exception):
    """Raised for an answer that is a failure, or cannot be read.

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


class AnswerReader(Protocol):
    """Turns one answer's bytes into parts. ``done`` is True once a Done was among them."""

    done: bool

    def feed(self, chunk: bytes) -> list[Part]:
        """The parts that ``chunk`` of an event stream completes.

        Raises AnswerError (with the parts before the fault), or EventTooLargeError.
        """

    def end(self) -> list[Part]:
        """The parts left at the stream's end; raises AnswerError where it came too early."""

    def whole(self, body: bytes) -> list[Part]:
        """The parts of an answer that is one JSON document; raises AnswerError."""


class Dialect(Protocol):
    """Protocol of an upstream: makes the call's body and reads its answer."""

    path: str

    def body(self, prompt: Prompt) -> bytes:
        """The call's body, JSON."""

    def reader(self) -> AnswerReader:
        """A reader for one answer."""


def text_or_none(value: Json) -> str | None:
    """``value`` if it is a text that is not empty."""
    return value if isinstance(value, str) and value else None


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


def json_object(data: bytes) -> dict[str, Json]:
    """``data`` as a JSON object; raises AnswerError."""
    try:
        value = loads(data)
    except ValueError as error:
        raise AnswerError("its answer is not JSON", raw=data) from error
    if not isinstance(value, dict):
        raise AnswerError("its answer is no JSON object", raw=data)
    return value


def parsed_arguments(arguments: Json) -> Json:
    """A tool call's arguments, which come as JSON or as the text of it."""
    if not isinstance(arguments, str):
        return arguments
    if not arguments.strip():
        return None
    try:
        return storable_json(loads(arguments.encode()))
    except ValueError:
        return arguments
