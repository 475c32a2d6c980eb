"""One websocket after its upgrade: what it may send, and who does it.

Each kind of frame has a method; frames that take their time run beside the reader, so that
reading never waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar

import structlog
from aiohttp import WSMsgType, web
from msgspec import UNSET

from operator_svc import __version__
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.keys import Services
from operator_svc.models import Caller
from operator_svc.protocol.bodies import ChatBody, chat_of
from operator_svc.protocol.frames import (
    Auth,
    Cancel,
    ChatFrame,
    ClientFrame,
    ClientPing,
    ClientPong,
    CloseCode,
    Draining,
    ErrorFrame,
    FrameId,
    Ping,
    Pong,
    Ready,
    Result,
    Resume,
    ServerFrame,
    encode,
    error_info,
)
from operator_svc.services.live import LiveEvent
from operator_svc.services.outbox import Outbox
from operator_svc.services.sockets import CLOSE_GRACE
from operator_svc.services.watching import Subscription
from operator_svc.ws.reading import UnusableFrameError, read, unreadable_binary
from operator_svc.ws.writer import PONG, PROTOCOL_PING, SocketWriter, WebSocket, server_frame

log = structlog.get_logger(__name__)

MAX_UNREADABLE = 20
"""Unreadable frames in a row that a client may send (api.md, close codes)."""
MAX_COMMANDS = 32
"""Commands of one socket that may be under way at once."""

_PING = encode(Ping())


class Connection:
    """A websocket of one session. ``writer`` is set before anything else is asked of it."""

    __slots__ = (
        "_alive",
        "_allowance",
        "_allowance_at",
        "_commands",
        "_frame_rate",
        "_loop",
        "_order",
        "_services",
        "_subscription",
        "_unreadable",
        "_ws",
        "caller",
        "outbox",
        "session_id",
        "writer",
    )

    transport_name: ClassVar[str] = "websocket"
    must_look: ClassVar[bool] = False  # the reader is told

    def __init__(
        self,
        services: Services,
        request: web.Request,
        ws: WebSocket,
        drain: Callable[[], Awaitable[None]],
        session_id: str,
    ) -> None:
        self._services = services
        self._ws = ws
        self._loop = asyncio.get_running_loop()
        self._subscription: Subscription | None = None
        self._commands = 0
        self._order: asyncio.Lock | None = None
        self._unreadable = 0
        self._alive = True
        self._frame_rate = services.settings.frame_rate
        self._allowance = float(self._frame_rate)
        self._allowance_at = self._loop.time()
        self.caller: Caller | None = None
        self.session_id = session_id
        self.writer = ws.writer = SocketWriter(request, drain, self._deleted)
        self.outbox = Outbox(self.writer, services.tasks, services.settings.outbox_bytes)

    # The phases after the upgrade.

    async def receive(self) -> str | None:
        """The next text message, or None when the client left; binary ones count as unreadable.

        Raises UnusableFrameError for a binary message.
        """
        while True:
            message = await self._ws.receive()
            self._alive = True
            kind = message.type
            if kind is WSMsgType.CLOSE:
                self.writer.close(message.data or CloseCode.DONE)
                return None
            if kind is WSMsgType.ERROR:
                await self.writer.linger()
            if kind not in _KINDS:
                return None
            if self.writer.code is not None:
                continue  # closing: what still comes is not read any more
            if not self._allowed():
                self.close(CloseCode.TOO_MANY_FRAMES)
            elif kind is WSMsgType.TEXT:
                return str(message.data)
            elif kind is WSMsgType.PING:
                self.writer.control(server_frame(PONG, message.data))
            elif kind is WSMsgType.BINARY:
                raise unreadable_binary()

    async def serve(self, after: int | None, epoch: str | None, auth_id: FrameId | None) -> None:
        """Show the session, from ``after`` on where that is given, and do what the client asks,
        until it leaves or is sent away."""
        services = self._services
        assert self.caller is not None
        if not services.sockets.join(self, self.session_id):
            self.close(CloseCode.TOO_MANY_CONNECTIONS)
            await self.until_left()
            return
        try:
            self._subscription = subscription = await services.watching.open(
                self.session_id, self.outbox
            )
        except OperatorError as error:
            self._refuse(error, None)
            self.close(CloseCode.INTERNAL_ERROR)
            await self.until_left()
            return
        try:
            self._begin(subscription, after, epoch, auth_id)
            await self._read_frames()
        finally:
            subscription.feed.waiters.discard(self._see)
            subscription.close()

    def _begin(
        self,
        subscription: Subscription,
        after: int | None,
        epoch: str | None,
        auth_id: FrameId | None,
    ) -> None:
        feed = subscription.feed
        assert self.caller is not None
        if self.caller.user_id is not None:
            if feed.user_id not in (None, self.caller.user_id):
                self.close(CloseCode.FORBIDDEN)
                return
            feed.waiters.add(self._see)
        self._send(
            Ready(
                session_id=self.session_id,
                seq=feed.seen,
                epoch=feed.epoch,
                version=__version__,
                heartbeat_s=self._services.settings.heartbeat,
            )
        )
        if auth_id is not None:
            self._send(Result(id=auth_id, ok=True))
        if after is not None:
            self._on_resume(Resume(after=after, epoch=epoch))
        elif feed.replies:
            self._start(subscription.begin(feed.seen), None, vital=True)
        else:
            subscription.join()

    def _see(self, event: LiveEvent | None) -> None:
        """A token that is bound to a user may have waited for a session that another one made."""
        assert self.caller is not None
        assert self._subscription is not None
        feed = self._subscription.feed
        if event is not None and feed.user_id not in (None, self.caller.user_id):
            feed.live.discard(self.outbox)
            self.close(CloseCode.FORBIDDEN)

    async def _read_frames(self) -> None:
        while True:
            try:
                text = await self.receive()
                if text is None:
                    return
                frame = read(text)
            except UnusableFrameError as unusable:
                self._unusable(unusable)
            else:
                self._unreadable = 0
                method = _METHODS[type(frame)]
                method(self, frame)

    async def until_left(self) -> None:
        while True:
            try:
                if await self.receive() is None:
                    return
            except UnusableFrameError:
                continue

    def _unusable(self, unusable: UnusableFrameError) -> None:
        self._refuse(unusable.error, unusable.id)
        self._unreadable = self._unreadable + 1 if unusable.unreadable else 0
        if self._unreadable >= MAX_UNREADABLE:
            self.close(CloseCode.UNREADABLE)

    def _allowed(self) -> bool:
        """Count a frame against the rate; a second's worth may come at once."""
        if not self._frame_rate:
            return True
        now = self._loop.time()
        self._allowance = min(
            float(self._frame_rate),
            self._allowance + (now - self._allowance_at) * self._frame_rate,
        )
        self._allowance_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    # What clients ask for.

    def _on_auth(self, frame: Auth) -> None:
        """Who is known already may still say so."""
        if self._services.tokens.find(frame.token) is None:
            self.close(CloseCode.FORBIDDEN)
        elif frame.id is not None:
            self._send(Result(id=frame.id, ok=True))

    def _on_ping(self, frame: ClientPing) -> None:
        self._send(
            Pong(
                ts=UNSET if frame.ts is None else frame.ts,
                id=UNSET if frame.id is None else frame.id,
            )
        )

    def _on_pong(self, frame: ClientPong) -> None:
        """A sign of life, and that was noted."""

    def _on_chat(self, frame: ChatFrame) -> None:
        self._start(self._chat(frame), frame.id)

    def _on_cancel(self, frame: Cancel) -> None:
        self._start(self._cancel(frame), frame.id)

    def _on_resume(self, frame: Resume) -> None:
        self._start(self._resume(frame), frame.id, vital=True)

    async def _chat(self, frame: ChatFrame) -> Any:
        chat = chat_of(
            ChatBody(
                message=frame.message,
                session_id=self.session_id,
                context_summary=frame.context_summary,
                metadata=frame.metadata,
                provider_hint=frame.provider_hint,
                client_message_id=frame.client_message_id,
            ),
            source="ws",
        )
        assert self.caller is not None
        if self._order is None:
            self._order = asyncio.Lock()
        async with self._order:  # messages are stored in the order in which they came
            accepted = await self._services.conversations.start(self.caller, chat)
        return {
            "session_id": accepted.session_id,
            "message_id": accepted.message_id,
            "reply_id": accepted.reply_id,
        }

    async def _cancel(self, frame: Cancel) -> Any:
        assert self.caller is not None
        return await self._services.conversations.cancel(self.caller, frame.reply_id)

    async def _resume(self, frame: Resume) -> Any:
        assert self._subscription is not None
        await self._subscription.resume(frame.after, frame.epoch)
        return {"seq": self._subscription.feed.seen}

    def _start(
        self, command: Coroutine[Any, Any, Any], frame_id: FrameId | None, *, vital: bool = False
    ) -> None:
        """Do a command beside the reader. One that is ``vital`` must succeed: without it the
        client would see nothing more, so it must come back."""
        if self._commands >= MAX_COMMANDS:
            command.close()
            self._refuse(
                OperatorError(
                    ErrorCode.RATE_LIMITED,
                    f"more than {MAX_COMMANDS} commands under way on one socket",
                    retry_after=1.0,
                ),
                frame_id,
            )
            return
        self._commands += 1
        self._services.tasks.start(self._run(command, frame_id, vital), "command")

    async def _run(self, command: Awaitable[Any], frame_id: FrameId | None, vital: bool) -> None:
        """Do a command and answer it. One whose socket leaves goes on: its chat is stored."""
        failed = True
        try:
            data = await command
            failed = False
            if frame_id is not None:
                self._send(Result(id=frame_id, ok=True, data=data))
        except ConnectionError:
            pass  # the client left, and the reader sees that too
        except OperatorError as error:
            self._refuse(error, frame_id)
        except Exception:
            log.exception("a command of a socket failed", session_id=self.session_id)
            internal = OperatorError(
                ErrorCode.INTERNAL_ERROR, "something went wrong; the cause is in the log"
            )
            self._refuse(internal, frame_id)
        finally:
            self._commands -= 1
            if vital and failed:
                self.close(CloseCode.INTERNAL_ERROR)

    # Answers, and the end.

    def _send(self, frame: ServerFrame) -> None:
        self.outbox.frame(encode(frame))

    def _refuse(self, error: OperatorError, frame_id: FrameId | None) -> None:
        if frame_id is not None:
            self._send(Result(id=frame_id, ok=False, error=error_info(error)))
        else:
            self._send(ErrorFrame(error=str(error.code), detail=error.detail))

    def close(self, code: int) -> None:
        """Close with ``code``, after what waits where that is soon written."""
        if self.outbox.queued_bytes and code != CloseCode.TOO_SLOW:
            self._services.tasks.start(self._close_flushed(code), "close")
        else:
            self.writer.close(code)

    async def _close_flushed(self, code: int) -> None:
        try:
            async with asyncio.timeout(CLOSE_GRACE):
                await self.outbox.flushed()
        except TimeoutError:
            pass
        self.writer.close(code)

    def _deleted(self) -> None:
        self.close(CloseCode.SESSION_DELETED)

    # What the process says (services.sockets.Client).

    def look(self) -> None:
        """See Client.look."""

    def beat(self) -> None:
        """See Client.beat. No sign of life since the last one: the client is dead."""
        if self.writer.code is not None or self._subscription is None:
            return
        if not self._alive:
            self.writer.close(CloseCode.DEAD)
            return
        self._alive = False
        if not self.outbox.queued_bytes:
            self.outbox.frame(_PING)
        self.writer.control(PROTOCOL_PING)

    def busy(self) -> bool:
        """See Client.busy."""
        if self.writer.code is not None or self._subscription is None:
            return False
        return self._commands > 0 or any(
            reply.local for reply in self._subscription.feed.replies.values()
        )

    def say_draining(self, reconnect_in_ms: int) -> None:
        """See Client.say_draining."""
        if self._subscription is not None:
            self._send(Draining(reconnect_in_ms=reconnect_in_ms))


_KINDS = frozenset({WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG})

_METHODS: dict[type[ClientFrame], Callable[[Connection, Any], None]] = {
    Auth: Connection._on_auth,
    ChatFrame: Connection._on_chat,
    Cancel: Connection._on_cancel,
    Resume: Connection._on_resume,
    ClientPing: Connection._on_ping,
    ClientPong: Connection._on_pong,
}
