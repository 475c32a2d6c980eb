"""Foreground calls: a reply that its caller stops by going away, as OpenAI's SDKs stop one."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog

from operator_svc.background import TaskOwner
from operator_svc.errors import OperatorError
from operator_svc.models import Caller
from operator_svc.services.chat.replies import Replies

log = structlog.get_logger(__name__)

GRACE = 1.5
"""Seconds in which a repeated call may take the reply over: SDKs come back after half a second."""


class Foreground:
    """Counts the callers of each reply, and cancels it a moment after the last one has gone."""

    def __init__(self, replies: Replies, tasks: TaskOwner, grace: float = GRACE) -> None:
        self._replies = replies
        self._tasks = tasks
        self._grace = grace
        self._callers: Counter[int] = Counter()

    def attend(self, reply_id: int) -> None:
        """A caller waits for the reply; ``release`` follows."""
        self._callers[reply_id] += 1

    def release(self, caller: Caller, reply_id: int, *, early: bool) -> None:
        """A caller waits no more; ``early`` where the reply has not ended."""
        self._callers[reply_id] -= 1
        if self._callers[reply_id]:
            return
        del self._callers[reply_id]
        if early:
            self._tasks.start(self._cancel_later(caller, reply_id), f"leave-{reply_id}")

    async def _cancel_later(self, caller: Caller, reply_id: int) -> None:
        await asyncio.sleep(self._grace)
        if reply_id in self._callers:
            return
        try:
            await self._replies.cancel(caller, reply_id)
        except OperatorError as error:
            log.info("reply not cancelled", reply_id=reply_id, error=str(error.code))
