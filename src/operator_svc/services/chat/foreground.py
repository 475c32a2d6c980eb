"""Foreground calls: a reply that its caller stops by going away, as OpenAI's SDKs stop one."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import NamedTuple

import structlog

from operator_svc.background import TaskOwner
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ReplyStatus
from operator_svc.protocol.chat import Chat
from operator_svc.services.chat.chats import START_ATTEMPTS, Chats
from operator_svc.services.chat.replies import Replies
from operator_svc.services.chat.running_replies import Accepted
from operator_svc.services.chat.sessions import Sessions
from operator_svc.stores.messages import MessageStore

log = structlog.get_logger(__name__)

GRACE = 1.5
"""Seconds in which a repeated call may take the reply over: SDKs come back after half a second."""
FIRST = ""
"""The attempt that has begun the reply, which is not stored."""


class Attended(NamedTuple):
    """A reply that a caller waits for, and the name of this attempt to get it. It ``goes_on`` when
    its caller leaves; one that is not ``kept`` is deleted with its session when the call ends."""

    accepted: Accepted
    attempt: str
    goes_on: bool
    kept: bool


class Foreground:
    """Starts chats for callers who wait, and cancels a reply a moment after the last one has gone.

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
        grace: float = GRACE,
    ) -> None:
        self._chats = chats
        self._replies = replies
        self._sessions = sessions
        self._messages = messages
        self._tasks = tasks
        self._grace = grace
        self._callers: Counter[int] = Counter()

    async def start(
        self, caller: Caller, chat: Chat, *, goes_on: bool = False, kept: bool = True
    ) -> Attended:
        """Start a chat, which is awaited unless it ``goes_on``, or take over the reply that its
        key stands for, on whichever process.

        Raises as ``Chats.start`` and ``Replies.wait``.
        """
        for _ in range(START_ATTEMPTS):
            accepted = await self._chats.start(caller, chat)
            if accepted.started is not None:
                return Attended(accepted, FIRST, goes_on, kept)
            attempt = uuid.uuid4().hex
            if await self._messages.attend(accepted.reply_id, attempt):
                break
            result = await self._replies.wait(accepted)
            if result is None or result.status is not ReplyStatus.CANCELLED or goes_on:
                break
        return Attended(accepted, attempt, goes_on, kept)

    def attend(self, attended: Attended) -> None:
        """A caller waits for the reply; ``release`` follows."""
        self._callers[attended.accepted.reply_id] += 1

    async def release(self, caller: Caller, attended: Attended, *, early: bool) -> None:
        """A caller waits no more; ``early`` where the reply has not ended."""
        reply_id = attended.accepted.reply_id
        self._callers[reply_id] -= 1
        if self._callers[reply_id]:
            return
        del self._callers[reply_id]
        if not early:
            await self._forget(caller, attended)
        elif not attended.goes_on:
            self._tasks.start(self._leave(caller, attended), f"leave-{reply_id}")

    async def _leave(self, caller: Caller, attended: Attended) -> None:
        await asyncio.sleep(self._grace)
        reply_id = attended.accepted.reply_id
        if reply_id in self._callers:
            return
        try:
            if await self._messages.leave(reply_id, attended.attempt):
                await self._replies.cancel(caller, reply_id)
            if (await self._replies.get(caller, reply_id)).status != ReplyStatus.STREAMING:
                await self._forget(caller, attended)
        except OperatorError as error:
            log.info("reply not cancelled", reply_id=reply_id, error=str(error.code))

    async def _forget(self, caller: Caller, attended: Attended) -> None:
        """Delete the session of a call that is not kept, if nobody else has by now."""
        if attended.kept:
            return
        try:
            await self._sessions.delete(caller, attended.accepted.session_id)
        except OperatorError as error:
            if error.code is not ErrorCode.SESSION_NOT_FOUND:
                raise
