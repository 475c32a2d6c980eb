"""Foreground calls: a reply that its caller stops by going away, as OpenAI's SDKs stop one."""

from __future__ import annotations

import asyncio
import uuid
from typing import NamedTuple

import structlog

from operator_svc.background import TaskOwner
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ReplyStatus
from operator_svc.protocol.chat import Chat
from operator_svc.protocol.intents import Intent
from operator_svc.services.chat.chats import START_ATTEMPTS, Chats
from operator_svc.services.chat.replies import Replies
from operator_svc.services.chat.running_replies import Accepted
from operator_svc.services.chat.sessions import Sessions
from operator_svc.stores.messages import MessageStore

log = structlog.get_logger(__name__)

RANK, MOST_ATTEMPTS = 4, 9999
"""Digits of an attempt's number, with which its name begins."""
FIRST = ""
"""The attempt that has begun the reply, which is not stored."""


class Attended(NamedTuple):
    """A reply that a caller waits for, and the name of this attempt to get it. It is deleted with
    its session when the call ends, unless it is ``kept``."""

    accepted: Accepted
    attempt: str
    goes_on: bool
    kept: bool


class _Callers:
    """The callers of this process that wait for one reply: their number, and the attempt that has
    the reply among them."""

    def __init__(self) -> None:
        self.count = 0
        self.attempt = FIRST

    def add(self, attempt: str) -> None:
        """One more; a first attempt does not take the reply from one after it."""
        self.count += 1
        if attempt[:RANK] >= self.attempt[:RANK]:
            self.attempt = attempt


class Foreground:
    """Starts chats for callers who wait, and cancels a reply ``grace`` seconds after the last one
    has gone, in which a repeated call may take it over.

    Callers of one process are counted. Those of others are known by the attempt that is stored:
    the latest one has the reply, and the earlier ones leave it alone.
    """

    def __init__(
        self,
        chats: Chats,
        replies: Replies,
        sessions: Sessions,
        messages: MessageStore,
        tasks: TaskOwner,
        grace: float,
    ) -> None:
        self._chats = chats
        self._replies = replies
        self._sessions = sessions
        self._messages = messages
        self._tasks = tasks
        self._grace = grace
        self._callers: dict[int, _Callers] = {}
        self.refused = chats.quota.refused

    async def start(
        self, caller: Caller, chat: Chat, attempt: int = 0, *, kept: bool = True
    ) -> Attended:
        """Start a chat, or take over the reply of its key from any process.

        ``attempt`` is the number of attempts before this one: one that was overtaken by a later
        one waits for the reply as well, but does not stop it. Raises as ``Chats.start`` and
        ``Replies.wait``.
        """
        name = FIRST
        for _ in range(START_ATTEMPTS):
            accepted = await self._accept(caller, chat, attempt)
            if accepted.started is not None and not attempt:
                name = FIRST
                break
            name = name or f"{min(attempt, MOST_ATTEMPTS):0{RANK}d}-{uuid.uuid4().hex}"
            attended = await self._messages.attend(accepted.reply_id, name)
            if attended or accepted.started is not None:
                break
            result = await self._replies.wait(accepted)
            if result is None or result.status is not ReplyStatus.CANCELLED or not chat.awaited:
                break
        return Attended(accepted, name, not chat.awaited, kept)

    async def _accept(self, caller: Caller, chat: Chat, attempt: int) -> Accepted:
        with self.refused.noting(Intent(chat.client_message_id or "", chat.renewal, attempt)):
            return await self._chats.start(caller, chat)

    def attend(self, attended: Attended) -> None:
        """A caller waits for the reply; ``release`` follows."""
        callers = self._callers.setdefault(attended.accepted.reply_id, _Callers())
        callers.add(attended.attempt)

    async def release(self, caller: Caller, attended: Attended, *, early: bool) -> None:
        """A caller waits no more; ``early`` where the reply has not ended."""
        reply_id = attended.accepted.reply_id
        callers = self._callers[reply_id]
        callers.count -= 1
        if callers.count:
            return
        del self._callers[reply_id]
        if not early:
            if not attended.kept:
                await self._forget(caller, attended)
        elif not attended.goes_on:
            last = attended._replace(attempt=callers.attempt)
            self._tasks.start(self._leave(caller, last), f"leave-{reply_id}")

    async def _leave(self, caller: Caller, attended: Attended) -> None:
        await asyncio.sleep(self._grace)
        reply_id = attended.accepted.reply_id
        if reply_id in self._callers:
            return
        try:
            if await self._messages.leave(reply_id, attended.attempt):
                await self._replies.cancel(caller, reply_id)
            if attended.kept:
                return
            if (await self._replies.get(caller, reply_id)).status != ReplyStatus.STREAMING:
                await self._forget(caller, attended)
        except OperatorError as error:
            log.info("reply not cancelled", reply_id=reply_id, error=str(error.code))

    async def _forget(self, caller: Caller, attended: Attended) -> None:
        """Delete the session of a call that is not stored, unless somebody else uses it by now."""
        try:
            await self._sessions.delete(caller, attended.accepted.session_id)
        except OperatorError as error:
            if error.code is not ErrorCode.SESSION_NOT_FOUND:
                raise
