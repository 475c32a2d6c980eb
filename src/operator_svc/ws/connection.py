"""One websocket after its upgrade: what is read from it, what it is sent, and how it ends."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import ClassVar

from aiohttp import EofStream, WebSocketError, WSCloseCode, WSMsgType

from operator_svc import __version__
from operator_svc.background import aside
from operator_svc.context import Services
from operator_svc.errors import OperatorError, drop_frames
from operator_svc.models import Caller
from operator_svc.protocol.frames import (
    CloseCode,
    Draining,
    ErrorFrame,
    FrameId,
    Ping,
    Ready,
    Result,
    ServerFrame,
    encode,
    error_info,
)
from operator_svc.rest.server.upgraded import UpgradedConnection
from operator_svc.services.live.clients import CLOSE_GRACE
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.send_queue import SendQueue
from operator_svc.services.live.subscriptions import Subscription
from operator_svc.services.rate_limit import TokenBucket
from operator_svc.ws.commands import Commands
from operator_svc.ws.frame_decoder import InvalidFrameError, read, unreadable_binary
from operator_svc.ws.writer import PONG, PROTOCOL_PING, SocketWriter, server_frame

MAX_UNREADABLE = 20
"""Unreadable frames in a row that a client may send (api.md, close codes)."""

_PING = encode(Ping())

_ABNORMAL, _LAST_CODE = 1006, 4999
"""The code of a loss, which no frame may carry, and the last code of all (RFC 6455, section 7.4).
aiohttp's reader refuses the others that may not be sent."""


def _answer_to(code: int) -> int:
    """The close code that answers a client's, which is 0 for none."""
    if code == _ABNORMAL or code > _LAST_CODE:
        return WSCloseCode.PROTOCOL_ERROR
    return code or CloseCode.DONE


class Connection:
    """A websocket of one session; a LiveClient."""

    __slots__ = (
        "_alive",
        "_commands",
        "_frames",
        "_left",
        "_messages",
        "_services",
        "_subscription",
        "_unreadable",
        "caller",
        "send_queue",
        "session_id",
        "writer",
    )

    transport_name: ClassVar[str] = "websocket"
    must_poll: ClassVar[bool] = False  # the reader learns of a close

    def __init__(self, services: Services, connection: UpgradedConnection, session_id: str) -> None:
        self._services = services
        self._messages = connection.messages
        self._subscription: Subscription | None = None
        self._commands: Commands | None = None
        self._unreadable = 0
        self._alive = True
        self._left = False
        self._frames = TokenBucket(services.settings.frame_rate, 1.0)
        self.caller: Caller | None = None
        self.session_id = session_id
        self.writer = SocketWriter(connection, self._on_deleted)
        self.send_queue = SendQueue(
            self.writer, services.tasks, services.settings.outbox_bytes, services.byte_budget
        )

    def authenticated(self, caller: Caller) -> None:
        """Take ``caller`` for the one who calls, until its token ends."""
        self.caller = caller

    # What comes in.

    async def receive(self) -> str | None:
        """The next text message, or None when the client left.

        Raises InvalidFrameError for a binary message.
        """
        while not self._left:
            try:
                message = await self._messages.read()
            except (EofStream, WebSocketError) as error:
                self._left = True
                await self._end(error)
                break
            self._alive = True
            kind = message.type
            if kind is WSMsgType.CLOSE:
                self._left = True
                self.writer.close(_answer_to(message.data))
            elif self.writer.code is not None:
                continue  # closing: what still comes is not read any more
            elif not self._frames.take():
                self.close(CloseCode.TOO_MANY_FRAMES)
            elif kind is WSMsgType.TEXT:
                return str(message.data)
            elif kind is WSMsgType.PING:
                self.writer.write(server_frame(PONG, message.data))
            elif kind is WSMsgType.BINARY:
                raise unreadable_binary()
        return None

    async def _end(self, error: Exception) -> None:
        drop_frames(error)
        if isinstance(error, WebSocketError):
            self.writer.close(error.code)
            await self.writer.linger()

    async def until_left(self) -> None:
        """Wait for the end of a socket that is being closed; what still comes is not done."""
        while True:
            try:
                if await self.receive() is None:
                    return
            except InvalidFrameError:
                continue

    # The session.

    async def serve(self, after: int | None, epoch: str | None, auth_id: FrameId | None) -> None:
        """Show the session, from ``after`` on where that is given, and do what the client asks,
        until it leaves or is sent away."""
        services = self._services
        if not services.clients.join(self, self.session_id):
            self.close(CloseCode.TOO_MANY_CONNECTIONS)
            await self.until_left()
            return
        try:
            subscription = await services.subscriptions.open(self.session_id, self.send_queue)
        except OperatorError as error:
            self.refuse(error, None)
            self.close(CloseCode.INTERNAL_ERROR)
            await self.until_left()
            return
        self._subscription = subscription
        try:
            if self._may_watch(subscription):
                self._begin(subscription, after, epoch, auth_id)
            await self._read_frames()
        finally:
            subscription.feed.listeners.discard(self._on_event)
            subscription.close()
            self._commands = None

    def _may_watch(self, subscription: Subscription) -> bool:
        """True where the caller may see this session. A token that is bound to a user may wait for
        one that is not there yet; it is closed out when another user makes that session."""
        assert self.caller is not None
        if self.caller.user_id is None:
            return True
        if subscription.feed.user_id not in (None, self.caller.user_id):
            self.close(CloseCode.FORBIDDEN)
            return False
        subscription.feed.listeners.add(self._on_event)
        return True

    def _on_event(self, event: LiveEvent | None) -> None:
        assert self.caller is not None
        assert self._subscription is not None
        feed = self._subscription.feed
        if event is not None and feed.user_id not in (None, self.caller.user_id):
            feed.subscribers.discard(self.send_queue)
            self.send_queue.close()
            self.writer.close(CloseCode.FORBIDDEN)

    def _begin(
        self,
        subscription: Subscription,
        after: int | None,
        epoch: str | None,
        auth_id: FrameId | None,
    ) -> None:
        assert self.caller is not None
        feed = subscription.feed
        self.send(
            Ready(
                session_id=self.session_id,
                seq=feed.last_seq,
                epoch=feed.epoch,
                version=__version__,
                heartbeat_s=self._services.settings.heartbeat,
            )
        )
        if auth_id is not None:
            self.send(Result(id=auth_id, ok=True))
        self._commands = Commands(self, self._services, self.caller, subscription)
        self._commands.begin(after, epoch)

    async def _read_frames(self) -> None:
        while True:
            try:
                text = await self.receive()
                if text is None:
                    return
                frame = await aside(len(text), partial(read, text))
            except InvalidFrameError as invalid:
                self._note_invalid(invalid)
            else:
                self._unreadable = 0
                if self._commands is not None:
                    self._commands.take(frame)

    def _note_invalid(self, invalid: InvalidFrameError) -> None:
        self.refuse(invalid.error, invalid.id)
        self._unreadable = self._unreadable + 1 if invalid.unreadable else 0
        if self._unreadable >= MAX_UNREADABLE:
            self.close(CloseCode.UNREADABLE)

    # Answers, and the end.

    def send(self, frame: ServerFrame) -> None:
        """Send a frame."""
        self.send_queue.frame(encode(frame))

    def refuse(self, error: OperatorError, frame_id: FrameId | None) -> None:
        """Answer that a command was not done."""
        if frame_id is not None:
            self.send(Result(id=frame_id, ok=False, error=error_info(error)))
        else:
            self.send(ErrorFrame(error=str(error.code), detail=error.detail))

    def close(self, code: CloseCode) -> None:
        """Close with ``code``, after what waits where that is soon written."""
        if self.send_queue.queued_bytes:
            self._services.tasks.start(self._close_flushed(code), "close")
        else:
            self.writer.close(code)

    async def _close_flushed(self, code: CloseCode) -> None:
        try:
            async with asyncio.timeout(CLOSE_GRACE):
                await self.send_queue.flushed()
        except TimeoutError:
            pass
        self.writer.close(code)

    def _on_deleted(self) -> None:
        self.close(CloseCode.SESSION_DELETED)

    # LiveClient

    def poll_closed(self) -> None:
        """See LiveClient.poll_closed."""

    def heartbeat(self) -> None:
        """See LiveClient.heartbeat. A client of which nothing came since the last one is dead."""
        if self.writer.code is not None or self._subscription is None:
            return
        if not (self.writer.moved() or self._alive):
            self.writer.close(CloseCode.DEAD)
            return
        self._alive = False
        if not self.send_queue.queued_bytes:
            self.send_queue.frame(_PING)
        self.writer.write(PROTOCOL_PING)

    def has_local_reply(self) -> bool:
        """See LiveClient.has_local_reply."""
        if self.writer.code is not None or self._subscription is None:
            return False
        if self._commands is not None and self._commands.running:
            return True
        return self._subscription.feed.has_local_reply

    def send_draining(self, reconnect_in_ms: int) -> None:
        """See LiveClient.send_draining."""
        if self._subscription is not None:
            self.send(Draining(reconnect_in_ms=reconnect_in_ms))
