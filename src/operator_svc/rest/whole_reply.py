"""Calls that are answered with a whole reply, and stop it when their caller leaves."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from aiohttp import web

from operator_svc.context import Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.chat import ChatAnswer
from operator_svc.protocol.frames import CloseCode
from operator_svc.rest.event_stream import probe
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.server.connections import connection_of
from operator_svc.services.chat.reply_follower import EndSink
from operator_svc.services.chat.running_replies import Accepted, ReplyResult

_END = EndSink()


class WholeReply:
    """A call that waits for a reply's end: a LiveClient that nothing is sent to before."""

    transport_name: ClassVar[str] = "event_stream"
    must_poll: ClassVar[bool] = True

    def __init__(self, services: Services, request: web.Request, accepted: Accepted) -> None:
        """Raises OperatorError(forbidden) where the token was taken away since it was looked up:
        once the call is registered, that is told."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self.caller = caller_of(request)
        services.tokens.check_current(self.caller)
        self.ended = False
        """True once the reply has ended, whoever was there to see it."""
        self.accepted = accepted
        self._replies = services.replies
        self._request = request
        self._transport = transport
        self._probed = False
        self._left_by: Exception | None = None
        """The error of a call that is left before its answer: by the client, or sent away."""
        self._waiting: asyncio.Timeout | None = None

    async def answer(self) -> ChatAnswer:
        """The answer of the chat. Raises as ``result``, and OperatorError where the reply fails."""
        return await self._replies.answer(self.accepted, await self.result())

    async def result(self) -> ReplyResult:
        """The reply's end, however it is.

        Raises OperatorError where that is not known, and ConnectionError when the client is gone.
        """
        if self._left_by is not None:
            raise self._left_by
        self._waiting = waiting = asyncio.timeout(None)
        try:
            async with waiting:
                result = await self._replies.follow(self.accepted, _END)
        except TimeoutError:
            if self._left_by is None:
                raise
            raise self._left_by from None
        except OperatorError:
            self.ended = True
            raise
        finally:
            self._waiting = None
        self.ended = True
        return result

    def _leave(self, reason: Exception) -> None:
        """End the waiting; the first reason counts."""
        if self._left_by is None:
            self._left_by = reason
            if self._waiting is not None:
                self._waiting.reschedule(0.0)

    # LiveClient.

    def poll_closed(self) -> None:
        """See LiveClient.poll_closed. A client that only closed its half looks like one that left,
        until something is sent to it."""
        if not self._probed and connection_of(self._request).half_closed:
            self._probed = True
            probe(self._request, self._transport)
        if self._transport.is_closing():
            self._leave(ConnectionResetError("the client is gone"))

    def heartbeat(self) -> None:
        """Nothing: there is no word before the answer."""

    def has_local_reply(self) -> bool:
        """See LiveClient.has_local_reply."""
        return True

    def send_draining(self, reconnect_in_ms: int) -> None:
        """Nothing: the reply is awaited."""

    def close(self, code: CloseCode) -> None:
        """See LiveClient.close; the answer says why it ends."""
        reason = ErrorCode.FORBIDDEN if code is CloseCode.FORBIDDEN else ErrorCode.DRAINING
        self._leave(OperatorError(reason, reason.summary))
