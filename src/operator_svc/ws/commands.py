"""Commands of a websocket's client: one method for each kind of frame.

A command that takes its time runs beside the reader, so that reading never waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import structlog
from msgspec import UNSET

from operator_svc.context import Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, SignedCaller
from operator_svc.protocol.chat import new_chat
from operator_svc.protocol.frames import (
    Auth,
    Cancel,
    ChatFrame,
    ClientFrame,
    ClientPing,
    ClientPong,
    CloseCode,
    FrameId,
    Pong,
    Result,
    Resume,
    ServerFrame,
)
from operator_svc.services.auth import TokenExpiredError
from operator_svc.services.live.subscriptions import Subscription

log = structlog.get_logger(__name__)

MAX_COMMANDS = 32
"""Commands of one socket that may be under way at once."""


class CommandSocket(Protocol):
    """The socket whose commands are done, and answered."""

    session_id: str

    def authenticated(self, caller: Caller) -> None:
        """Take ``caller`` for the one who calls."""

    def send(self, frame: ServerFrame) -> None:
        """Send a frame."""

    def refuse(self, error: OperatorError, frame_id: FrameId | None) -> None:
        """Answer that a command was not done."""

    def close(self, code: CloseCode) -> None:
        """Close the socket."""


class Commands:
    """Does the commands of one socket."""

    __slots__ = ("_caller", "_order", "_services", "_socket", "_subscription", "running")

    def __init__(
        self, socket: CommandSocket, services: Services, caller: Caller, subscription: Subscription
    ) -> None:
        self._socket = socket
        self._services = services
        self._caller = caller
        self._subscription = subscription
        self._order: asyncio.Lock | None = None
        self.running = 0

    def take(self, frame: ClientFrame) -> None:
        """Do, or begin to do, a command; close the socket where the caller's token is gone."""
        if not self._services.tokens.is_current(self._caller):
            self._socket.close(CloseCode.FORBIDDEN)
            return
        if type(frame) in _COUNTED:
            try:
                self._services.authenticator.count(self._caller)
            except OperatorError as error:
                self._socket.refuse(error, frame.id)
                return
        _METHODS[type(frame)](self, frame)

    def begin(self, after: int | None, epoch: str | None) -> None:
        """Show the session to a client that just got its position."""
        feed = self._subscription.feed
        if after is not None:
            self._on_resume(Resume(after=after, epoch=epoch))
        elif feed.replies:
            self._start(self._subscription.begin(feed.last_seq), None, vital=True)
        else:
            self._subscription.join()

    def _on_auth(self, frame: Auth) -> None:
        """A client that is known already may still say so, or bring a newer token."""
        caller = self._services.tokens.find(frame.token)
        if caller is None:
            self._start(self._verify(frame), frame.id)
            return
        self._renew(caller)
        if frame.id is not None:
            self._socket.send(Result(id=frame.id, ok=True))

    def _renew(self, caller: Caller) -> None:
        """Let the socket last as long as a newer signed token of the same caller. A token of
        another caller, or with other rights, is right too, and changes nothing here."""
        current = self._caller
        if not (isinstance(caller, SignedCaller) and isinstance(current, SignedCaller)):
            return
        same = all(
            getattr(caller, field) == getattr(current, field) for field in Caller.__struct_fields__
        )
        if same and caller.expires_at >= current.expires_at:
            self._caller = caller
            self._socket.authenticated(caller)

    def _on_ping(self, frame: ClientPing) -> None:
        self._socket.send(
            Pong(
                ts=UNSET if frame.ts is None else frame.ts,
                id=UNSET if frame.id is None else frame.id,
            )
        )

    def _on_pong(self, frame: ClientPong) -> None:
        """Nothing to do: each frame counts as a heartbeat."""

    def _on_chat(self, frame: ChatFrame) -> None:
        self._start(self._chat(frame), frame.id)

    def _on_cancel(self, frame: Cancel) -> None:
        self._start(self._cancel(frame), frame.id)

    def _on_resume(self, frame: Resume) -> None:
        self._start(self._resume(frame), frame.id, vital=True)

    async def _chat(self, frame: ChatFrame) -> Any:
        chat = new_chat(
            frame.message,
            frame.metadata,
            frame.provider_hint,
            session_id=self._socket.session_id,
            context_summary=frame.context_summary,
            client_message_id=frame.client_message_id,
            source="ws",
        )
        if self._order is None:
            self._order = asyncio.Lock()
        async with self._order:  # messages are stored in the order in which they came
            self._services.tokens.check_current(self._caller)
            accepted = await self._services.chats.start(self._caller, chat)
        return accepted.result()

    async def _verify(self, frame: Auth) -> Any:
        try:
            caller = await self._services.tokens.verify(frame.token)
            if caller is not None:
                self._renew(caller)
                return UNSET
        except TokenExpiredError:
            pass
        self._socket.close(CloseCode.FORBIDDEN)
        raise OperatorError(ErrorCode.FORBIDDEN, "the token is wrong")

    async def _cancel(self, frame: Cancel) -> Any:
        return await self._services.replies.cancel(self._caller, frame.reply_id)

    async def _resume(self, frame: Resume) -> Any:
        await self._subscription.resume(frame.after, frame.epoch)
        return {"seq": self._subscription.feed.last_seq}

    def _start(
        self, command: Coroutine[Any, Any, Any], frame_id: FrameId | None, *, vital: bool = False
    ) -> None:
        """Do a command beside the reader. One that is ``vital`` must succeed: without it the
        client would see nothing more, so it must come back."""
        if self.running >= MAX_COMMANDS:
            command.close()
            self._socket.refuse(
                OperatorError(
                    ErrorCode.RATE_LIMITED,
                    f"more than {MAX_COMMANDS} commands under way on one socket",
                    retry_after=1.0,
                ),
                frame_id,
            )
            return
        self.running += 1
        self._services.tasks.start(self._run(command, frame_id, vital), "command")

    async def _run(self, command: Awaitable[Any], frame_id: FrameId | None, vital: bool) -> None:
        """Execute a command and send its result. It continues if its socket closes, because its
        chat is stored."""
        failed = True
        try:
            data = await command
            failed = False
            if frame_id is not None:
                self._socket.send(Result(id=frame_id, ok=True, data=data))
        except ConnectionError:
            pass  # the client left, and the reader sees that too
        except OperatorError as error:
            self._socket.refuse(error, frame_id)
        except Exception:
            log.exception("websocket command failed", session_id=self._socket.session_id)
            internal = OperatorError(
                ErrorCode.INTERNAL_ERROR, "internal error; the log has the cause"
            )
            self._socket.refuse(internal, frame_id)
        finally:
            self.running -= 1
            if vital and failed:
                self._socket.close(CloseCode.INTERNAL_ERROR)


_COUNTED = frozenset({ChatFrame, Cancel, Resume})
"""Commands that count as requests of the token."""
_METHODS: dict[type[ClientFrame], Callable[[Commands, Any], None]] = {
    Auth: Commands._on_auth,
    ChatFrame: Commands._on_chat,
    Cancel: Commands._on_cancel,
    Resume: Commands._on_resume,
    ClientPing: Commands._on_ping,
    ClientPong: Commands._on_pong,
}
