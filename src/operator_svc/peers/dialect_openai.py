"""The ``openai`` dialect: chat completions, as vLLM, Ollama, llama.cpp and others serve them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import msgspec
import structlog

from operator_svc.models import Json
from operator_svc.peers.answer_end import SENTINEL
from operator_svc.peers.answer_reader import AnswerReader
from operator_svc.peers.chat_types import (
    AnswerError,
    Done,
    NoAnswerError,
    Part,
    Prompt,
    json_object,
    label_or_none,
    reported,
    text_or_none,
)
from operator_svc.peers.failures import PeerRefusedError
from operator_svc.peers.tool_call_pieces import ToolCallPieces
from operator_svc.protocol.openai import text_of
from operator_svc.protocol.text import loads, loads_storable
from operator_svc.protocol.turns import in_turns

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Roles that history may bring, and what they are sent as: few servers know ``developer``, and
a tool's message would need the call that it answers."""
DECISION = "openai"
BAD_REQUEST = frozenset({400, 422})
"""HTTP statuses of servers that do not take a body as it is."""
STREAM_OPTIONS = "stream_options"
MAX_TOKENS = ("max_tokens", "max_completion_tokens")
"""The field for a reply's length, and its name with servers that refuse the first one."""
FILTERED = frozenset({"content_filter", "content_policy_violation"})
"""Error codes of servers that refuse a message for its content."""

log = structlog.get_logger(__name__)


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice]
    model: str | None = None
    usage: Any = None
    error: Any = None


_chunks = msgspec.json.Decoder(_Chunk)
_decode_chunk, _decode_chunks = _chunks.decode, _chunks.decode_lines


class OpenAiDialect:
    """Ordered history, always asked to stream; ``extra`` fields are put over the body's."""

    path = "/chat/completions"
    models_path = "/models"

    def __init__(
        self, model: str = "", extra: Mapping[str, Json] | None = None, *, think_tags: bool = True
    ) -> None:
        self._model = model
        self._extra = extra or {}
        self._think_tags = think_tags
        self._stream_options = True
        self._max_tokens = MAX_TOKENS[0]

    def engine(self, prompt: Prompt) -> str | None:
        """The model that is asked for by name."""
        asked = self._extra.get("model") or prompt.engine.parameters.get("model")
        return label_or_none(asked or self._model or prompt.provider_hint)

    def body(self, prompt: Prompt) -> bytes:
        """The fields that the client has for the engine win over ours, and ``extra`` over all."""
        body: dict[str, Json] = {"messages": _messages(prompt), "stream": True}
        if self._stream_options:
            body[STREAM_OPTIONS] = {"include_usage": True}
        if model := self._model or prompt.provider_hint:
            body["model"] = model
        max_tokens = prompt.engine.max_tokens or prompt.metadata.get("max_tokens")
        if isinstance(max_tokens, int) and not isinstance(max_tokens, bool) and max_tokens > 0:
            body[self._max_tokens] = max_tokens
        return msgspec.json.encode({**body, **prompt.engine.parameters, **self._extra})

    def adapt(self, refusal: PeerRefusedError) -> bool:
        """True where the call can be sent again, without what the server refused by name.

        Later calls leave it out too.
        """
        if refusal.status not in BAD_REQUEST:
            return False
        if self._stream_options and STREAM_OPTIONS in refusal.body:
            self._stream_options = False
            log.info("the upstream refused a field", field=STREAM_OPTIONS)
        elif self._max_tokens == MAX_TOKENS[0] and MAX_TOKENS[1] in refusal.body:
            self._max_tokens = MAX_TOKENS[1]
            log.info("the upstream refused a field", field=MAX_TOKENS[0])
        else:
            return False
        return True

    def reader(self) -> OpenAiReader:
        """A reader for one answer."""
        return OpenAiReader(think_tags=self._think_tags)


class OpenAiReader(AnswerReader):
    """Reads one answer; ends at ``[DONE]``, or at the stream's end after a finish_reason."""

    def __init__(self, *, think_tags: bool = True) -> None:
        super().__init__(think_tags=think_tags)
        self._calls = ToolCallPieces()
        self._deltas = False

    def ending(self, *, streamed: bool = True) -> Done:
        """The reply's end, as far as it is known."""
        return msgspec.structs.replace(
            super().ending(streamed=streamed),
            decision=DECISION,
            tool_calls_truncated=self._calls.truncated,
        )

    def take_refusal(self, refusal: PeerRefusedError) -> None:
        """Raise NoAnswerError where a filter refused the message."""
        try:
            answer = loads(refusal.body.encode())
        except ValueError:
            return
        error = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(error, dict) and str(error.get("code")) in FILTERED:
            self.finish_reason = "content_filter"
            raise NoAnswerError("it filtered the message", refusal.body)

    def _take(self, data: bytes, parts: list[Part]) -> None:
        try:
            chunk = _decode_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._take_other(data, parts)
            return
        choice = chunk.choices[0] if chunk.choices else None
        delta = choice.delta if choice is not None else None
        if (
            delta is None
            or chunk.error
            or delta.refusal
            or delta.tool_calls
            or delta.function_call
            or chunk.usage is not None
        ):
            self._take_object(json_object(data), parts)
            return
        assert choice is not None
        if chunk.model:
            self.provider = chunk.model
        if content := delta.content:
            self._deltas = True
            self._add_text(content, parts)
        if thought := delta.reasoning_content or delta.reasoning:
            self._add_reasoning(thought, parts)
        if choice.finish_reason is not None:
            self._note_finish(choice.finish_reason)

    def _texts(self, lines: bytes, count: int) -> list[str]:
        try:
            chunks = _decode_chunks(lines)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []
        if len(chunks) != count:  # one has no data, or goes on in the next one
            return []
        texts: list[str] = []
        for chunk in chunks:
            if not chunk.choices or chunk.usage is not None or chunk.error:
                break
            choice = chunk.choices[0]
            delta = choice.delta
            if choice.finish_reason is not None or delta.tool_calls or delta.function_call:
                break
            if delta.reasoning_content or delta.reasoning or delta.refusal:
                break
            texts.append(delta.content or "")
            if chunk.model:
                self.provider = chunk.model
        self._deltas = self._deltas or any(texts)
        return texts

    def _take_other(self, data: bytes, parts: list[Part]) -> None:
        """An event other than a plain chunk."""
        if not (data := data.strip()):
            return  # a keep-alive
        if data == SENTINEL:
            self._finish(parts)
        else:
            self._take_object(json_object(data), parts)

    def _take_document(self, body: bytes, parts: list[Part]) -> None:
        answer = json_object(body, loads_storable)  # no half is kept back for a next piece
        if not self._take_object(answer, parts, whole=True) and answer.get("choices") != []:
            raise AnswerError("its answer makes no sense", raw=body)

    def _take_object(
        self, answer: dict[str, Json], parts: list[Part], *, whole: bool = False
    ) -> bool:
        """Read a chunk or a document, in whatever form; True where it has a choice to read."""
        self.provider = text_or_none(answer.get("model")) or self.provider
        self._add_usage(answer.get("usage"))
        if error := answer.get("error") or (answer.get("object") == "error" and answer):
            raise reported(error)
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return False
        delta, message = choice.get("delta"), choice.get("message")
        if isinstance(delta, dict) and delta:
            self._deltas = self._deltas or bool(delta.get("content"))
            self._take_delta(delta, parts, whole=whole)
        elif isinstance(message, dict):
            # After deltas it is a summary of what they brought.
            if not self._deltas:
                self._take_delta(message, parts, whole=whole)
        elif "text" in choice:
            self._add_content(choice["text"], parts)
        elif whole:
            return False
        self._note_finish(choice.get("finish_reason"))
        return True

    def _take_delta(self, delta: dict[str, Json], parts: list[Part], *, whole: bool) -> None:
        self._add_reasoning(delta.get("reasoning_content") or delta.get("reasoning"), parts)
        self._add_content(delta.get("content"), parts)
        self._add_refusal(delta.get("refusal"), parts)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            self._calls.add(call, whole=whole)
        if isinstance(function := delta.get("function_call"), dict):
            self._calls.add({"function": function}, whole=whole)

    def _finish(self, parts: list[Part], *, streamed: bool = True) -> None:
        if calls := self._calls.parts():
            parts.extend(calls)
            self._answered = True
        super()._finish(parts, streamed=streamed)


def _messages(prompt: Prompt) -> list[dict[str, Json]]:
    """The client's own conversation; else all that is for the system as one message, the history,
    and the user's message or what takes its place."""
    if prompt.engine.messages is not None:
        return [
            {**message, "role": "system"} if message.get("role") == "developer" else message
            for message in prompt.engine.messages
        ]
    message = {"role": "user", "content": prompt.engine.content or prompt.message}
    asked = [*(prompt.engine.before or ()), *(prompt.engine.input or [message])]
    turns = [turn for turn in prompt.history if turn["role"] in ROLES]
    system = [prompt.engine.instructions, prompt.context_summary]
    messages = []
    for message in [*chain.from_iterable(map(_sent, turns)), *asked]:
        if ROLES.get(message["role"]) == "system":
            system.append(text_of(message["content"]))
        else:
            messages.append(message)
    if prompt.engine.before or prompt.engine.input or any("messages" in turn for turn in turns):
        messages = in_turns(messages)
    # Many templates take one system message, and only as the first one.
    if text := "\n\n".join(filter(None, system)):
        messages.insert(0, {"role": "system", "content": text})
    return messages


def _sent(turn: dict[str, Json]) -> list[dict[str, Json]]:
    """The messages that a turn of the history is."""
    return turn.get("messages") or [{"role": turn["role"], "content": turn["content"]}]
