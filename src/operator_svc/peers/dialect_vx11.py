"""Switch's own dialect: ``POST /switch/chat``, answered by an event stream or one JSON object.

Switch, as read on the day of the audit, answers 200 when it failed, puts its text under one of
four names, and takes the first message for its prompt.
"""

from __future__ import annotations

from typing import Any

import msgspec

from operator_svc.models import Json
from operator_svc.peers.chat_types import (
    NO_TEXT,
    AnswerError,
    Done,
    Part,
    Prompt,
    Reasoning,
    Text,
    ToolCallPart,
    count_or_none,
    json_object,
    milliseconds_or_none,
    parsed_arguments,
    text_or_none,
)
from operator_svc.protocol.sse import Decoder
from operator_svc.protocol.text import Storable, storable, storable_json

TEXT_FIELDS = ("reply", "content", "response", "message")
"""Fields that may hold the text of a JSON answer; the first one with text wins."""
MAX_TOKENS = 4096
FAILED = frozenset({"error", "partial"})

_decode_token = msgspec.json.Decoder(Text | Reasoning).decode


class Vx11Dialect:
    """The calls and answers of Switch itself."""

    path = "/switch/chat"

    def body(self, prompt: Prompt) -> bytes:
        """The user's message first and alone; all context in ``metadata``."""
        metadata: dict[str, Any] = {
            "source": "operator",
            "task_type": "chat",
            "max_tokens": MAX_TOKENS,
            **prompt.metadata,
            "session_id": prompt.session_id,
            "user_id": prompt.user_id,
            "require_streaming": True,
        }
        if prompt.context_summary:
            metadata["context_summary"] = prompt.context_summary
        if prompt.history:
            metadata["history"] = prompt.history
        return msgspec.json.encode(
            {
                "messages": [{"role": "user", "content": prompt.message}],
                "provider_hint": prompt.provider_hint,
                "metadata": metadata,
                "stream": True,
            }
        )

    def reader(self) -> Vx11Reader:
        """A reader for one answer."""
        return Vx11Reader()


class Vx11Reader:
    """Reads one answer of Switch."""

    def __init__(self, max_event_bytes: int = 16 * 2**20) -> None:
        self.done = False
        self._events = Decoder(max_event_bytes).feed
        self._text = Storable()
        self._reasoning = Storable()
        self._said_something = False

    def feed(self, chunk: bytes) -> list[Part]:
        """The parts that ``chunk`` completes; what follows Done is not looked at."""
        parts: list[Part] = []
        try:
            for event in self._events(chunk):
                try:
                    part = _decode_token(event.data)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    self._other(event.data, parts)
                    if self.done:
                        break
                    continue
                # The decoder lets no lone surrogate through, so only NUL and a half that is
                # kept back from an earlier token can need mending here.
                if "\0" in part.content or self._text.half or self._reasoning.half:
                    self._piece(type(part), part.content, parts)
                elif part.content:
                    parts.append(part)
        except AnswerError as error:
            error.parts = parts
            raise
        if not self._said_something:
            self._said_something = any(not isinstance(part, Reasoning) for part in parts)
        return parts

    def end(self) -> list[Part]:
        """A stream that ends before its Done was cut."""
        raise AnswerError("its answer was cut off")

    def whole(self, body: bytes) -> list[Part]:
        """An answer in one piece: one Text, not cut up to look like a stream."""
        answer = json_object(body)
        _check_status(answer)
        for name in TEXT_FIELDS:
            if (text := text_or_none(answer.get(name))) is not None:
                self.done = True
                return [Text(storable(text)), _done(answer, streamed=False)]
        raise AnswerError(NO_TEXT)

    def _other(self, data: bytes, parts: list[Part]) -> None:
        """An event that is not a plain token."""
        if data.strip() == b"[DONE]":
            raise AnswerError("its answer ended without a result")
        event = json_object(data)
        kind = event.get("type")
        if kind == "token":
            self._piece(Text, event.get("content"), parts)
        elif kind == "reasoning":
            self._piece(Reasoning, event.get("content"), parts)
        elif kind == "tool_call":
            parts.append(_tool_call(event))
        elif kind == "error":
            raise AnswerError("it reported a failure", _failure_message(event))
        elif kind == "done":
            self._finish(event, parts)
        # Other kinds are for readers that know them.

    def _piece(self, kind: type[Text | Reasoning], content: Json, parts: list[Part]) -> None:
        if content is None:
            return
        if not isinstance(content, str):
            raise AnswerError("a token of its answer is no text", raw=content)
        mender = self._text if kind is Text else self._reasoning
        if content := mender.feed(content):
            parts.append(kind(content))

    def _finish(self, event: dict[str, Json], parts: list[Part]) -> None:
        _check_status(event)
        if rest := self._reasoning.flush():
            parts.append(Reasoning(rest))
        if rest := self._text.flush():
            parts.append(Text(rest))
        if not (self._said_something or any(not isinstance(part, Reasoning) for part in parts)):
            raise AnswerError(NO_TEXT)
        parts.append(_done(event, streamed=True))
        self.done = True


def _check_status(answer: dict[str, Json]) -> None:
    status = answer.get("status")
    if isinstance(status, str) and status.lower() in FAILED:
        raise AnswerError(f"it answered with status {status.lower()}", _failure_message(answer))


def _failure_message(answer: dict[str, Json]) -> str:
    """Switch's own message about a failure, for the log."""
    fields = ("detail", "error", *TEXT_FIELDS)
    return next((text for f in fields if (text := text_or_none(answer.get(f)))), "")


def _done(answer: dict[str, Json], *, streamed: bool) -> Done:
    return Done(
        provider=_label(answer.get("provider")),
        decision=_label(answer.get("decision")),
        latency_ms=milliseconds_or_none(answer.get("latency_ms")),
        tokens_used=count_or_none(answer.get("tokens_used")),
        reasoning=_label(answer.get("reasoning")),
        streamed=streamed,
    )


def _label(value: Json) -> str | None:
    return storable(value) if isinstance(value, str) and value else None


def _tool_call(event: dict[str, Json]) -> ToolCallPart:
    """Read widely: the event's fields are not fixed, and OpenAI's nesting is in use."""
    raw = storable_json({k: v for k, v in event.items() if k != "type"})
    function = raw.get("function")
    fields = {**raw, **function} if isinstance(function, dict) else raw
    names = (fields.get(n) for n in ("name", "tool_name", "tool"))
    name = next((n for n in names if text_or_none(n)), None)
    if name is None:
        raise AnswerError("a tool call of its answer has no name")
    arguments = next(
        (fields[n] for n in ("arguments", "args", "input", "parameters") if n in fields), None
    )
    ids = (raw.get(n) for n in ("id", "tool_call_id", "call_id"))
    return ToolCallPart(
        name=name,
        arguments=parsed_arguments(arguments),
        id=next((str(i) for i in ids if isinstance(i, str | int) and i != ""), None),
        raw=raw,
    )
