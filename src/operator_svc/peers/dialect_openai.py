"""The ``openai`` dialect: chat completions, as vLLM, Ollama, llama.cpp and others serve them."""

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
    parsed_arguments,
    text_or_none,
)
from operator_svc.protocol.sse import Decoder
from operator_svc.protocol.text import Storable, storable, storable_json

ROLES = frozenset({"system", "user", "assistant"})
"""Roles that history may bring; a tool's message would need the call that it answers."""
MAX_TOOL_CALLS = 128
DECISION = "openai"


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice]
    model: str | None = None
    usage: Any = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class OpenAiDialect:
    """Ordered history, always asked to stream."""

    def __init__(self, url: str, model: str = "") -> None:
        # People write the address with and without the version.
        prefix = "" if url.rstrip("/").endswith("/v1") else "/v1"
        self.path = f"{prefix}/chat/completions"
        self.models_path = f"{prefix}/models"
        self._model = model

    def body(self, prompt: Prompt) -> bytes:
        """The summary as a system message, then the history, then the user's message."""
        messages = [m for m in prompt.history if m.get("role") in ROLES]
        if prompt.context_summary:
            messages.insert(0, {"role": "system", "content": prompt.context_summary})
        body: dict[str, Json] = {
            "messages": [*messages, {"role": "user", "content": prompt.message}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if model := self._model or prompt.provider_hint:
            body["model"] = model
        max_tokens = prompt.metadata.get("max_tokens")
        if isinstance(max_tokens, int) and not isinstance(max_tokens, bool) and max_tokens > 0:
            body["max_tokens"] = max_tokens
        return msgspec.json.encode(body)

    def reader(self) -> OpenAiReader:
        """A reader for one answer."""
        return OpenAiReader()


class OpenAiReader:
    """Reads one answer; ends at ``[DONE]``, or at the stream's end after a finish_reason."""

    def __init__(self, max_event_bytes: int = 16 * 2**20) -> None:
        self.done = False
        self._events = Decoder(max_event_bytes).feed
        self._text = Storable()
        self._reasoning = Storable()
        self._said_something = False
        self._finish_reason: str | None = None
        self._model: str | None = None
        self._usage: Json = None
        self._calls: dict[int, dict[str, str]] = {}

    def feed(self, chunk: bytes) -> list[Part]:
        """The parts that ``chunk`` completes; what follows ``[DONE]`` is not looked at."""
        parts: list[Part] = []
        try:
            for event in self._events(chunk):
                if event.data.strip() == b"[DONE]":
                    parts.extend(self.end())
                    break
                try:
                    message = _decode_chunk(event.data)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    message = _widely(event.data)
                self._take(message, parts)
        except AnswerError as error:
            error.parts = parts
            raise
        return parts

    def end(self) -> list[Part]:
        """The held-back text, the tool calls, and Done."""
        if self._finish_reason is None:
            raise AnswerError("its answer was cut off")
        parts: list[Part] = []
        if rest := self._reasoning.flush():
            parts.append(Reasoning(rest))
        if rest := self._text.flush():
            parts.append(Text(rest))
        parts.extend(_tool_call(call) for _, call in sorted(self._calls.items()))
        if not (self._said_something or any(not isinstance(part, Reasoning) for part in parts)):
            raise AnswerError(NO_TEXT, f"finish_reason {self._finish_reason}")
        parts.append(self._done(streamed=True))
        self.done = True
        return parts

    def whole(self, body: bytes) -> list[Part]:
        """An answer of a server that does not stream."""
        answer = json_object(body)
        _check(answer.get("error"))
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise AnswerError("its answer makes no sense", raw=body)
        parts: list[Part] = []
        if reasoning := text_or_none(message.get("reasoning_content") or message.get("reasoning")):
            parts.append(Reasoning(storable(reasoning)))
        if text := text_or_none(message.get("content")):
            parts.append(Text(storable(text)))
        self._add_calls(message.get("tool_calls"))
        parts.extend(_tool_call(call) for _, call in sorted(self._calls.items()))
        if all(isinstance(part, Reasoning) for part in parts):
            raise AnswerError(NO_TEXT)
        self._model = text_or_none(answer.get("model"))
        self._usage = answer.get("usage")
        parts.append(self._done(streamed=False))
        self.done = True
        return parts

    def _take(self, message: _Chunk, parts: list[Part]) -> None:
        if message.error:
            _check(message.error)
        if message.model:
            self._model = message.model
        if message.usage is not None:
            self._usage = message.usage
        if not message.choices:
            return
        choice = message.choices[0]
        delta = choice.delta
        if delta.content and (text := self._text.feed(delta.content)):
            parts.append(Text(text))
            self._said_something = True
        thought = delta.reasoning_content or delta.reasoning
        if thought and (thought := self._reasoning.feed(thought)):
            parts.append(Reasoning(thought))
        if delta.tool_calls:
            self._add_calls(delta.tool_calls)
        if choice.finish_reason is not None:
            if choice.finish_reason == "error":
                raise AnswerError("it reported a failure", "finish_reason error")
            self._finish_reason = choice.finish_reason

    def _add_calls(self, deltas: Json) -> None:
        """Tool calls come in pieces, put together by their index."""
        for position, delta in enumerate(deltas if isinstance(deltas, list) else ()):
            if not isinstance(delta, dict):
                continue
            index = delta.get("index")
            index = index if isinstance(index, int) else position
            if index not in self._calls and len(self._calls) >= MAX_TOOL_CALLS:
                raise AnswerError("its answer has too many tool calls")
            call = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
            call["id"] = text_or_none(delta.get("id")) or call["id"]
            function = delta.get("function")
            if not isinstance(function, dict):
                continue
            call["name"] += text_or_none(function.get("name")) or ""
            arguments = function.get("arguments")
            if isinstance(arguments, dict):  # Ollama sends them decoded
                arguments = msgspec.json.encode(storable_json(arguments)).decode()
            call["arguments"] += text_or_none(arguments) or ""

    def _done(self, *, streamed: bool) -> Done:
        usage = self._usage if isinstance(self._usage, dict) else {}
        return Done(
            provider=storable(self._model) if self._model else None,
            decision=DECISION,
            tokens_used=count_or_none(usage.get("total_tokens")),
            streamed=streamed,
        )


def _widely(data: bytes) -> _Chunk:
    """A chunk that is not quite as it should be: what can be used of it."""
    event = json_object(data)
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    choice = first if isinstance(first, dict) else {}
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    content = delta.get("content")
    if content is not None and not isinstance(content, str):
        raise AnswerError("a token of its answer is no text", raw=content)
    calls = delta.get("tool_calls")
    return _Chunk(
        [
            _Choice(
                _Delta(
                    content,
                    text_or_none(delta.get("reasoning_content")),
                    text_or_none(delta.get("reasoning")),
                    calls if isinstance(calls, list) else None,
                ),
                text_or_none(choice.get("finish_reason")),
            )
        ],
        text_or_none(event.get("model")),
        event.get("usage"),
        event.get("error"),
    )


def _check(error: Json) -> None:
    if error:
        message = error.get("message") if isinstance(error, dict) else error
        raise AnswerError("it reported a failure", str(message)[:500])


def _tool_call(call: dict[str, str]) -> ToolCallPart:
    call = storable_json(call)
    if not call["name"]:
        raise AnswerError("a tool call of its answer has no name")
    return ToolCallPart(
        name=call["name"],
        arguments=parsed_arguments(call["arguments"]),
        id=call["id"] or None,
        raw=dict(call),
    )
