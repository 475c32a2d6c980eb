"""Switch's own dialect: ``POST /switch/chat``, answered by an event stream or one JSON object.

Switch, as read on the day of the audit, answers 200 when it failed, puts its text under one of
four names, and takes the first message for its prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise, takewhile
from typing import Any

import msgspec

from operator_svc.models import Json
from operator_svc.peers.answer_end import SENTINEL
from operator_svc.peers.answer_reader import AnswerReader
from operator_svc.peers.chat_types import (
    AnswerError,
    CutError,
    Done,
    Part,
    Prompt,
    Reasoning,
    ReportedError,
    Text,
    ToolCallPart,
    count_or_none,
    json_object,
    label_or_none,
    milliseconds_or_none,
    parsed_arguments,
    reported,
    text_or_none,
)
from operator_svc.peers.failures import PeerRefusedError
from operator_svc.protocol.engine_fields import ENGINE_FIELDS
from operator_svc.protocol.openai import SYSTEM
from operator_svc.protocol.text import loads_storable, storable, storable_json

TEXT_FIELDS = ("reply", "content", "response", "message")
"""Fields that may hold the text of a JSON answer; the first one with text wins."""
MAX_TOKENS = 4096
FAILED = frozenset({"error", "partial"})
EMPTY: tuple[Json, ...] = (None, "", [], {})

_tokens = msgspec.json.Decoder(Text | Reasoning)
_decode_token, _decode_tokens = _tokens.decode, _tokens.decode_lines


class Vx11Dialect:
    """The calls and answers of Switch itself; ``extra`` fields are put over the body's."""

    path = "/switch/chat"

    def __init__(self, extra: Mapping[str, Json] | None = None, *, think_tags: bool = True) -> None:
        self._extra = extra or {}
        self._think_tags = think_tags

    def engine(self, prompt: Prompt) -> str | None:
        """The engine that ``prompt`` asks for by name."""
        return label_or_none(prompt.provider_hint)

    def body(self, prompt: Prompt) -> bytes:
        """The user's message first and alone; all context in ``metadata``."""
        metadata: dict[str, Any] = {
            "source": "operator",
            "task_type": "chat",
            "max_tokens": prompt.engine.max_tokens or MAX_TOKENS,
            **prompt.metadata,
            "session_id": prompt.session_id,
            "user_id": prompt.user_id,
            "require_streaming": True,
        }
        system, brought = _brought(prompt)
        if summary := "\n\n".join(filter(None, system)):
            metadata["context_summary"] = summary
        told = [{"role": turn["role"], "content": turn["content"]} for turn in prompt.history]
        if history := [*told, *brought]:
            metadata["history"] = history
        if prompt.engine.parameters:
            metadata[ENGINE_FIELDS] = prompt.engine.parameters
        body = {
            "messages": [{"role": "user", "content": prompt.message}],
            "provider_hint": prompt.provider_hint,
            "metadata": metadata,
            "stream": True,
            **self._extra,
        }
        if isinstance(more := self._extra.get("metadata"), dict):
            body["metadata"] = metadata | more
        return msgspec.json.encode(body)

    def adapt(self, refusal: PeerRefusedError) -> bool:
        """False: there is no other form of a call that Switch refuses."""
        return False

    def reader(self) -> Vx11Reader:
        """A reader for one answer."""
        return Vx11Reader(think_tags=self._think_tags)


def _brought(prompt: Prompt) -> tuple[list[str | None], list[Json]]:
    """The text beside the message: all that is for the system, and the exchanges that the
    request brings along before it."""
    system = [prompt.engine.instructions, prompt.context_summary]
    turns = []
    for message in prompt.engine.input or ():
        if message.get("role") in SYSTEM:
            system.append(message["content"])
        elif message.get("content"):
            turns.append({"role": message["role"], "content": message["content"]})
    pairs = [
        turn
        for asked, answered in pairwise(turns)
        if (asked["role"], answered["role"]) == ("user", "assistant")
        for turn in (asked, answered)
    ]
    return system, pairs


class Vx11Reader(AnswerReader):
    """Reads one answer of Switch."""

    def __init__(self, *, think_tags: bool = True) -> None:
        super().__init__(think_tags=think_tags)
        self._result: dict[str, Json] = {}

    @property
    def ended(self) -> bool:
        """False: the event with the end is the last one."""
        return False

    def ending(self, *, streamed: bool = True) -> Done:
        """The reply's end, as far as Switch has sent it."""
        result = self._result
        return msgspec.structs.replace(
            super().ending(streamed=streamed),
            decision=label_or_none(result.get("decision")),
            latency_ms=milliseconds_or_none(result.get("latency_ms")),
            reasoning=storable(text_or_none(result.get("reasoning")) or "") or None,
        )

    def _take(self, data: bytes, parts: list[Part]) -> None:
        try:
            part = _decode_token(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._take_other(data, parts)
            return
        # The decoder lets no lone surrogate through, so only NUL and a half that is kept back
        # from an earlier token can need mending here.
        if isinstance(part, Reasoning):
            self._add_reasoning(part.content, parts)
        elif self._plain and part.content and "\0" not in part.content and not self._text.half:
            parts.append(part)
        else:
            self._add_text(part.content, parts)

    def _texts(self, lines: bytes, count: int) -> list[str]:
        try:
            tokens = _decode_tokens(lines)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []
        if len(tokens) != count:  # one has no data, or goes on in the next one
            return []
        return [token.content for token in takewhile(_is_text, tokens)]

    def _take_other(self, data: bytes, parts: list[Part]) -> None:
        """An event that is not a plain token."""
        if not (data := data.strip()):
            return  # a keep-alive
        if data == SENTINEL:
            raise CutError
        event = json_object(data)
        kind = event.get("type")
        if kind == "token":
            self._add_content(event.get("content"), parts)
        elif kind == "reasoning":
            self._add_reasoning(event.get("content"), parts)
        elif kind == "tool_call":
            parts.append(_tool_call(event))
            self._answered = True
        elif kind == "done":
            self._take_result(event)
            self._finish(parts)
        elif kind == "error" or (kind is None and event.get("error")):
            self._take_result(event)
            raise reported(event)
        # Other kinds are for readers that know them.

    def _take_document(self, body: bytes, parts: list[Part]) -> None:
        answer = json_object(body, loads_storable)  # no half is kept back for a next piece
        if "status" not in answer and not any(name in answer for name in TEXT_FIELDS):
            raise AnswerError("its answer makes no sense", raw=body)
        self._take_result(answer)
        contents = [answer.get(name) for name in TEXT_FIELDS]
        texts = filter(text_or_none, contents)
        others = (content for content in contents if content not in EMPTY)
        self._add_content(next(texts, None) or next(others, None), parts)

    def _take_result(self, result: dict[str, Json]) -> None:
        """Note how the reply ended; raises ReportedError for a status that is a failure."""
        self._result = result
        self.provider = label_or_none(result.get("provider"))
        self._add_usage(result.get("usage"))
        tokens = count_or_none(result.get("tokens_used"))
        self._tokens_used = self._tokens_used if tokens is None else tokens
        status = result.get("status")
        if isinstance(status, str) and status.lower() in FAILED:
            detail = f"it answered with status {status.lower()}"
            raise ReportedError(detail, _failure_message(result))
        self._note_finish(result.get("finish_reason"))


def _is_text(token: Text | Reasoning) -> bool:
    return type(token) is Text


def _failure_message(answer: dict[str, Json]) -> str:
    """Switch's own message about a failure, for the log."""
    fields = ("detail", "error", *TEXT_FIELDS)
    return next((text for f in fields if (text := text_or_none(answer.get(f)))), "")


def _tool_call(event: dict[str, Json]) -> ToolCallPart:
    """Read widely: the event's fields are not fixed, and OpenAI's nesting is in use."""
    raw = storable_json({k: v for k, v in event.items() if k != "type"})
    function = raw.get("function")
    fields = {**raw, **function} if isinstance(function, dict) else raw
    names = (fields.get(n) for n in ("name", "tool_name", "tool"))
    name = next((n for n in names if text_or_none(n)), None)
    if name is None:
        raise AnswerError("a tool call of its answer has no name")
    arguments, broken = parsed_arguments(
        next((fields[n] for n in ("arguments", "args", "input", "parameters") if n in fields), None)
    )
    ids = (raw.get(n) for n in ("id", "tool_call_id", "call_id"))
    return ToolCallPart(
        name=name,
        arguments=arguments,
        broken_arguments=broken,
        id=next((str(i) for i in ids if isinstance(i, str | int) and i != ""), None),
        raw=raw,
    )
