"""A chat completion as a stream of chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
from aiohttp import web

from operator_svc.context import Services
from operator_svc.errors import OperatorError
from operator_svc.models import Json
from operator_svc.protocol import openai, openai_answers
from operator_svc.protocol.chat import ChatAnswer
from operator_svc.rest.openai import errors
from operator_svc.rest.reply_answer import ReplyAnswer
from operator_svc.services.chat.running_replies import Accepted
from operator_svc.services.live.reply_stream import Kind

DONE = b"[DONE]"
FIELDS: dict[Kind, str] = {"reasoning": "reasoning_content", "text": "content"}
EMPTY = b'""'
_encode = msgspec.json.Encoder().encode


class ChunkHead(NamedTuple):
    """The fields that all chunks of a completion have in common."""

    reply_id: int
    created: int
    model: str
    include_usage: bool

    def chunk(
        self,
        delta: dict[str, Json] | None,
        finish_reason: str | None = None,
        usage: openai_answers.Usage | None = None,
    ) -> bytes:
        """The data of one chunk; without a ``delta`` it has no choice."""
        body: dict[str, Json] = {
            "id": openai.completion_id(self.reply_id),
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [],
        }
        if delta is not None:
            body["choices"] = [
                {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            ]
        if self.include_usage:
            body["usage"] = usage
        return _encode(body)

    def around(self, kind: Kind) -> tuple[bytes, bytes]:
        """The data of a chunk before and after the JSON of its text."""
        before, _, after = self.chunk({FIELDS[kind]: ""}).rpartition(EMPTY)
        return before, after


class CompletionStream(ReplyAnswer):
    """A chat completion as chunks."""

    def __init__(
        self, services: Services, request: web.Request, accepted: Accepted, head: ChunkHead
    ) -> None:
        super().__init__(services, request, accepted)
        self._head = head
        self._around: dict[Kind, tuple[bytes, bytes]] = {}

    def opening(self) -> bytes:
        """See ReplyAnswer.opening."""
        return self._head.chunk({"role": "assistant", "content": ""})

    def piece(self, kind: Kind, content: str) -> Iterable[bytes]:
        """See ReplyAnswer.piece. A chunk differs from the one before by its text alone."""
        if kind not in self._around:
            self._around[kind] = self._head.around(kind)
        before, after = self._around[kind]
        return (before + _encode(content) + after,)

    def closing(self, answer: ChatAnswer) -> Iterator[bytes]:
        """See ReplyAnswer.closing."""
        calls = openai.tool_calls_of(answer.tool_calls, indexed=True)
        if calls:
            yield self._head.chunk({"tool_calls": calls})
        yield self._head.chunk({}, openai.finish_reason_of(answer.metadata, called=bool(calls)))
        if self._head.include_usage:
            yield self._head.chunk(None, usage=openai.usage_of(answer.metadata))
        yield DONE

    def keep_alive(self, silent: int) -> None:
        """See ReplyAnswer.keep_alive; some clients' timers do not see comments."""
        if silent % 2:
            super().keep_alive(silent)
        else:
            self.send_queue.frame(self._head.chunk({}))

    def failure(self, error: OperatorError) -> bytes:
        """See EventStream.failure."""
        return _encode(errors.body_of(error))
