"""A chat completion as a stream of chunks."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec
from aiohttp import web

from operator_svc.context import Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Json
from operator_svc.protocol import openai, sse
from operator_svc.protocol.chat import ChatAnswer
from operator_svc.protocol.frames import CloseCode, Delta
from operator_svc.rest.event_stream import EventStream
from operator_svc.rest.openai import errors
from operator_svc.services.chat.reply_follower import EndSink
from operator_svc.services.chat.running_replies import Accepted, ReplyResult
from operator_svc.services.live.reply_stream import Kind, ReplyStream
from operator_svc.services.live.send_queue import SendQueue

DONE = b"[DONE]"
SILENCE = 15.0
"""Seconds without a chunk after which something is sent: a comment, and every second time an
empty chunk, since some clients' timers do not see comments."""
FIELDS: dict[Kind, str] = {"reasoning": "reasoning_content", "text": "content"}


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
        usage: openai.Usage | None = None,
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
        return msgspec.json.encode(body)


class PacedText(EndSink):
    """A reply's text for one client, at the client's own pace.

    A piece goes straight to a client that has taken all before it. For one that reads slowly
    nothing is kept here: it gets what has come meanwhile in one piece, once it has read.
    """

    wants_text = True

    def __init__(self, head: ChunkHead, send_queue: SendQueue) -> None:
        self.news = asyncio.Event()
        self.begun = False
        """True once chunks may be sent."""
        self._head = head
        self._send_queue = send_queue
        self._stream: ReplyStream | None = None
        self._sent: dict[Kind, int] = {"reasoning": 0, "text": 0}

    def attach(self, stream: ReplyStream) -> None:
        """See ReplySink.attach."""
        self._stream = stream
        stream.add_watcher(self)
        if not stream.empty:
            self.news.set()

    def detach(self, stream: ReplyStream) -> None:
        """See ReplySink.detach."""
        stream.remove_watcher(self)

    def delta(self, delta: Delta, data: bytes) -> None:
        """See Reader.delta."""
        kind = delta.kind
        if self.begun and self._sent[kind] == delta.offset and self._send_queue.idle:
            self._send(kind, delta.content)
        else:
            self.news.set()

    async def catch_up(self) -> None:
        """Send what has come meanwhile, once the client has taken what came before.

        Raises ConnectionError when the client is gone.
        """
        await self._send_queue.wait_drained()
        if self._stream is not None:
            for kind, sent in self._sent.items():
                self._send(kind, self._stream.text_from(sent, kind))

    async def finish(self, text: str) -> None:
        """Send the rest of a reply that has ended. Raises as ``catch_up``."""
        await self.catch_up()
        self._send("text", text[self._sent["text"] :])

    def _send(self, kind: Kind, content: str) -> None:
        if content:
            self._sent[kind] += len(content)
            self._send_queue.frame(self._head.chunk({FIELDS[kind]: content}))


class CompletionStream(EventStream):
    """The answer to a call for chunks: the head goes out with the first of them."""

    def __init__(
        self, services: Services, request: web.Request, accepted: Accepted, head: ChunkHead
    ) -> None:
        super().__init__(services, request)
        self._head = head
        self._accepted = accepted
        self._text = PacedText(head, self.send_queue)
        self.ended = False
        """True once the reply has ended, whoever was there to see it."""

    async def answer(self) -> web.StreamResponse:
        """Stream the reply to its end, or until the client leaves.

        Raises OperatorError where it fails before anything was sent.
        """
        following = self._services.tasks.start(self._follow(), "completion")
        try:
            if await self._first(following):
                await self._whole(following.result())  # what fails now is an ordinary error
            return await self.run(
                self._head.chunk({"role": "assistant", "content": ""}),
                lambda: self._chunks(following),
            )
        finally:
            following.cancel()

    async def awaited(self) -> ChatAnswer:
        """The whole answer, where no chunks are asked for.

        Raises OperatorError where the reply fails, and ConnectionError when the client is gone.
        """
        following = self._services.tasks.start(self._follow(), "completion")
        left = self._services.tasks.start(self.until_left(), "left")
        try:
            await asyncio.wait((following, left), return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                raise ConnectionResetError("the client is gone")
            return await self._whole(following.result())
        finally:
            following.cancel()
            left.cancel()

    async def _follow(self) -> ReplyResult | OperatorError:
        try:
            return await self._services.replies.follow(self._accepted, self._text)
        except OperatorError as error:
            return error
        finally:
            self._text.news.set()

    async def _first(self, following: asyncio.Task[ReplyResult | OperatorError]) -> bool:
        """Wait for the first piece, and for a while; True where the reply has ended by then.

        Raises ConnectionError when the client is gone.
        """
        news = self._services.tasks.start(self._news(SILENCE), "news")
        left = self._services.tasks.start(self.until_left(), "left")
        await asyncio.wait((news, left), return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        left.cancel()
        if left.done() and not left.cancelled():
            raise ConnectionResetError("the client is gone")
        return following.done()

    async def _news(self, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                await self._text.news.wait()
        except TimeoutError:
            return False
        self._text.news.clear()
        return True

    async def _chunks(self, following: asyncio.Task[ReplyResult | OperatorError]) -> None:
        self._text.begun = True
        self._text.news.set()
        silent = 0
        while not following.done():
            if await self._news(SILENCE):
                await self._text.catch_up()
                silent = 0
            else:
                silent += 1
                if silent % 2:
                    self._write(sse.comment("ping"))
                else:
                    self.send_queue.frame(self._head.chunk({}))
        result = following.result()
        if isinstance(result, ReplyResult):
            await self._text.finish(result.content)
        self._end(await self._whole(result))

    async def _whole(self, result: ReplyResult | OperatorError) -> ChatAnswer:
        """The answer of a reply that has ended; raises OperatorError where it failed."""
        self.ended = True
        if isinstance(result, OperatorError):
            raise result
        return await self._services.replies.answer(self._accepted, result)

    def _end(self, answer: ChatAnswer) -> None:
        calls = openai.tool_calls_of(answer.tool_calls, indexed=True)
        if calls:
            self.send_queue.frame(self._head.chunk({"tool_calls": calls}))
        reason = openai.finish_reason_of(answer.metadata, called=bool(calls))
        self.send_queue.frame(self._head.chunk({}, reason))
        if self._head.include_usage:
            usage = openai.usage_of(answer.metadata)
            self.send_queue.frame(self._head.chunk(None, usage=usage))
        self.send_queue.frame(DONE)

    def failure(self, error: OperatorError) -> bytes:
        """See EventStream.failure."""
        return msgspec.json.encode(errors.body_of(error))

    def poll_closed(self) -> None:
        """See LiveClient.poll_closed. Before the head nothing can be written to find out who only
        closed its half: SDKs close the whole, so that is taken for leaving."""
        if self._connection.half_closed and not self._text.begun:
            self._leave()
        else:
            super().poll_closed()

    def heartbeat(self) -> None:
        """Nothing: silence is timed from the last chunk."""

    def send_draining(self, reconnect_in_ms: int) -> None:
        """Nothing: the protocol has no word for it, and the reply is awaited."""

    def close(self, code: CloseCode) -> None:
        """See LiveClient.close; a stream that has begun says why it ends."""
        if self._text.begun and not self.ended:
            reason = ErrorCode.FORBIDDEN if code is CloseCode.FORBIDDEN else ErrorCode.DRAINING
            self.send_queue.frame(self.failure(OperatorError(reason, reason.summary)))
        super().close(code)
