"""Streams of a chat's reply in a protocol of others, at the client's own pace."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from aiohttp import web

from operator_svc.context import Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.chat import ChatAnswer
from operator_svc.protocol.frames import CloseCode, Delta
from operator_svc.rest.event_stream import EventStream
from operator_svc.services.chat.reply_follower import EndSink
from operator_svc.services.chat.running_replies import Accepted, ReplyResult
from operator_svc.services.live.reply_stream import Kind, ReplyStream

T = TypeVar("T")

SILENCE = 15.0
"""Seconds without a piece after which something is sent, so that no proxy takes the stream for
dead."""


class ReplyAnswer(EventStream):
    """The answer to a call for a reply. The head goes out with the first piece, so what fails
    before is an ordinary error.

    A piece goes straight to a client that has taken all before it. For one that reads slowly
    nothing is queued: it gets what has come meanwhile in one piece, once it has read.
    """

    def __init__(self, services: Services, request: web.Request, accepted: Accepted) -> None:
        super().__init__(services, request)
        self.accepted = accepted
        self.ended = False
        """True once the reply has ended, whoever was there to see it."""
        self._begun = False
        self._left_by: Exception = ConnectionResetError("the client is gone")
        """The error of a call that is left before its answer: by the client, or sent away."""
        self._news = asyncio.Event()
        self._text = _ReplyText(self)

    # The protocol.

    def opening(self) -> bytes:
        """The data of the first event."""
        raise NotImplementedError

    def piece(self, kind: Kind, content: str) -> Iterable[bytes]:
        """The data of the events that show a piece of the reply."""
        raise NotImplementedError

    def closing(self, answer: ChatAnswer) -> Iterable[bytes]:
        """The data of the events that end a reply which ended well."""
        raise NotImplementedError

    def keep_alive(self, silent: int) -> None:
        """Say that the stream lives, ``silent`` times ``SILENCE`` after its last piece."""
        super().heartbeat()

    # Answers.

    async def stream(self) -> web.StreamResponse:
        """Stream the reply to its end, or until the client leaves.

        Raises OperatorError where it fails before anything was sent.
        """
        following = self._services.tasks.start(self._follow(), "reply-answer")
        try:
            await self._until(self._wait())
            # What has failed by now is an ordinary error.
            answer = await self._whole(following.result()) if following.done() else None
            return await self.run(self.opening(), lambda: self._pieces(following, answer))
        finally:
            following.cancel()

    async def whole(self) -> ChatAnswer:
        """The whole answer, where no stream is asked for.

        Raises OperatorError where the reply fails, and ConnectionError when the client is gone.
        """
        return await self._whole(await self._until(self._follow()))

    async def _follow(self) -> ReplyResult | OperatorError:
        try:
            return await self._services.replies.follow(self.accepted, self._text)
        except OperatorError as error:
            return error
        finally:
            self._news.set()

    async def _until(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, which ends when the client leaves or is sent away.

        Raises what ``close`` has for one that is sent away, else ConnectionError.
        """
        working = self._services.tasks.start(work, "reply-answer")
        left = self._services.tasks.start(self.until_left(), "left")
        try:
            await asyncio.wait((working, left), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise self._left_by
            return working.result()
        finally:
            working.cancel()
            left.cancel()

    async def _wait(self) -> bool:
        """Wait for news; False where there was none for a while."""
        try:
            async with asyncio.timeout(SILENCE):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    async def _pieces(
        self, following: asyncio.Task[ReplyResult | OperatorError], answer: ChatAnswer | None
    ) -> None:
        self._begun = True
        self._news.set()
        silent = 0
        while not following.done():
            if await self._wait():
                await self._text.catch_up()
                silent = 0
            else:
                silent += 1
                self.keep_alive(silent)
        result = following.result()
        if isinstance(result, ReplyResult):
            await self._text.finish(result.content)
        for data in self.closing(answer or await self._whole(result)):
            self.send_queue.frame(data)

    async def _whole(self, result: ReplyResult | OperatorError) -> ChatAnswer:
        """The answer of a reply that has ended; raises OperatorError where it failed."""
        self.ended = True
        if isinstance(result, OperatorError):
            raise result
        return await self._services.replies.answer(self.accepted, result)

    # For the text.

    def ready(self) -> bool:
        """True where a piece can go straight to the client."""
        return self._begun and self.send_queue.idle

    def show(self, kind: Kind, content: str) -> None:
        """Send a piece of the reply."""
        for data in self.piece(kind, content):
            self.send_queue.frame(data)

    def wake(self) -> None:
        """There is something that was not sent yet."""
        self._news.set()

    # LiveClient.

    def poll_closed(self) -> None:
        """See LiveClient.poll_closed. Before the head nothing can be written to find out who only
        closed its half: SDKs close the whole, so that is taken for leaving."""
        if self._connection.half_closed and not self._begun:
            self._leave()
        else:
            super().poll_closed()

    def heartbeat(self) -> None:
        """Nothing: silence is timed from the last piece."""

    def send_draining(self, reconnect_in_ms: int) -> None:
        """Nothing: the protocol has no word for it, and the reply is awaited."""

    def close(self, code: CloseCode) -> None:
        """See LiveClient.close; the answer says why it ends."""
        reason = ErrorCode.FORBIDDEN if code is CloseCode.FORBIDDEN else ErrorCode.DRAINING
        self._left_by = error = OperatorError(reason, reason.summary)
        if self._begun and not self.ended:
            self.send_queue.frame(self.failure(error))
        super().close(code)


class _ReplyText(EndSink):
    """The place of one client in a reply's text."""

    wants_text = True

    def __init__(self, answer: ReplyAnswer) -> None:
        self._answer = answer
        self._stream: ReplyStream | None = None
        self._sent: dict[Kind, int] = {"reasoning": 0, "text": 0}

    def attach(self, stream: ReplyStream) -> None:
        """See ReplySink.attach."""
        self._stream = stream
        stream.add_watcher(self)
        if not stream.empty:
            self._answer.wake()

    def detach(self, stream: ReplyStream) -> None:
        """See ReplySink.detach."""
        stream.remove_watcher(self)

    def delta(self, delta: Delta, data: bytes) -> None:
        """See Reader.delta."""
        if self._sent[delta.kind] == delta.offset and self._answer.ready():
            self._send(delta.kind, delta.content)
        else:
            self._answer.wake()

    async def catch_up(self) -> None:
        """Send what has come meanwhile, once the client has taken what came before.

        Raises ConnectionError when the client is gone.
        """
        await self._answer.send_queue.wait_drained()
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
            self._answer.show(kind, content)
