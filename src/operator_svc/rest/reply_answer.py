"""Streams of a chat's reply in a protocol of others, at the client's own pace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple, TypeAlias

import msgspec
from aiohttp import hdrs, web

from operator_svc.context import Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.chat import ChatAnswer
from operator_svc.protocol.frames import CloseCode
from operator_svc.rest.event_stream import EventStream
from operator_svc.rest.reply_text import ReplyText
from operator_svc.services.chat.running_replies import Accepted, ReplyResult
from operator_svc.services.live.reply_stream import Kind

Following: TypeAlias = asyncio.Task[ReplyResult | OperatorError]
"""A task that ends with the reply, or with the reason why its end is not known."""

SILENCE = 15.0
"""Seconds without a piece after which something is sent, so that no proxy takes the stream for
dead."""


class Ending(NamedTuple):
    """The last events of a stream, and the bytes of what they are made of meanwhile."""

    events: Iterable[bytes]
    size: int

    @classmethod
    def of(cls, whole: msgspec.Struct, events: Iterable[bytes]) -> Ending:
        """Events that are made of ``whole``."""
        return cls(events, len(msgspec.json.encode(whole)))


class ReplyAnswer(EventStream):
    """The answer to a call for a reply. The head goes out with the first piece, so what fails
    before is an ordinary error.

    A piece goes straight to a client that has taken all before it. For one that reads slowly
    nothing is queued: it gets what has come meanwhile in one piece, once it has read. ``begin`` is
    the code point of the text from which on it is shown.
    """

    stored_only: ClassVar[bool] = False
    """True to send text only once it is stored, for a protocol that cannot replace it."""

    def __init__(
        self, services: Services, request: web.Request, accepted: Accepted, *, begin: int = 0
    ) -> None:
        super().__init__(services, request)
        self.accepted = accepted
        self.ended = False
        """True once the reply has ended, whoever was there to see it."""
        self._begun = False
        self._left_by: Exception = ConnectionResetError("the client is gone")
        """The error of a call that is left before its answer: by the client, or sent away."""
        self._news = asyncio.Event()
        self._answer: ChatAnswer | None = None
        self._text = ReplyText(self, begin)

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

    async def ending(self, result: ReplyResult) -> Ending:
        """The data of the events that end the stream. Raises OperatorError where the last one is
        its ``failure``."""
        answer = self._answer or await self._services.replies.answer(self.accepted, result)
        return Ending.of(answer, self.closing(answer))

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
            await self.before_head(following)
            return await self.run(self.opening(), lambda: self._pieces(following))
        finally:
            following.cancel()

    async def before_head(self, following: Following) -> None:
        """Wait for the first piece; raises OperatorError where the reply has failed by then."""
        await self._until(self._services.tasks.start(self._wait(), "reply-answer"))
        if following.done():
            self._answer = await self._services.replies.answer(self.accepted, self._end(following))

    async def _follow(self) -> ReplyResult | OperatorError:
        try:
            return await self._services.replies.follow(self.accepted, self._text)
        except OperatorError as error:
            return error
        finally:
            self._news.set()

    async def _until(self, work: asyncio.Task[Any]) -> None:
        """Wait for ``work``, which ends when the client leaves or is sent away.

        Raises what ``close`` has for one that is sent away, else ConnectionError.
        """
        try:
            await asyncio.wait((work, self._left), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise self._left_by
        finally:
            work.cancel()

    async def _wait(self) -> bool:
        """Wait for news; False where there was none for a while."""
        try:
            async with asyncio.timeout(SILENCE):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    async def _pieces(self, following: Following) -> None:
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
        result = self._end(following)
        budget = self._services.byte_budget
        refusable = self._request.method == hdrs.METH_GET  # it can be repeated safely
        with budget.holding(len(result.content), refusable=refusable):
            await self._text.finish(result.content)
        ending = await self.ending(result)
        with budget.holding(ending.size, refusable=refusable):
            await self.send_queue.send_all((data, None) for data in ending.events)

    def _end(self, following: Following) -> ReplyResult:
        """The reply's end, which has come; raises OperatorError where it is not known."""
        self.ended = True
        result = following.result()
        if isinstance(result, OperatorError):
            raise result
        return result

    # For the text.

    def ready(self) -> bool:
        """True where a piece can go straight to the client."""
        return self._begun and self.send_queue.idle

    def show(self, kind: Kind, content: str) -> None:
        """Send a short piece of the reply."""
        for data in self.piece(kind, content):
            self.send_queue.frame(data)

    async def show_long(self, kind: Kind, content: str) -> None:
        """Send a piece of any length at the client's pace; raises ConnectionError if it is gone."""
        await self.send_queue.send_all((data, None) for data in self.piece(kind, content))

    def wake(self) -> None:
        """There is something that was not sent yet."""
        self._news.set()

    # LiveClient.

    def poll_closed(self) -> None:
        """See LiveClient.poll_closed. A client that only closed its half looks like one that left,
        until something is sent to it."""
        if self._connection.half_closed and not self._begun:
            self.probe_before_head()
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
