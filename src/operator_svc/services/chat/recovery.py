"""Recovery of replies that nobody writes any more: they end as interrupted, with their text."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import ReplyStatus
from operator_svc.services.chat.running_replies import RunningReplies
from operator_svc.services.lease import PodIdentity
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.message_rows import Streaming
from operator_svc.stores.messages import MessageStore

AT_ONCE = 8
"""Replies that are ended at once: a process may leave thousands, and a write waits for the disk."""
MOST_FAILURES = 64
"""Replies that cannot be ended, after which it is the database that cannot: a session may be locked
by somebody for long, and keeps nobody else's reply waiting."""

log = structlog.get_logger(__name__)


class ReplyRecovery:
    """Ends the replies of dead pods, and those of this pod that no task writes."""

    def __init__(
        self,
        messages: MessageStore,
        running: RunningReplies,
        hub: SessionHub,
        lease: PodIdentity,
    ) -> None:
        self._messages = messages
        self._running = running
        self._hub = hub
        self._lease = lease
        self._suspects: set[int] = set()

    async def sweep(self) -> None:
        """End abandoned replies, while this process's own lease is valid.

        A reply of this pod without a task comes from a start whose answer was lost. It counts
        only when it is seen twice, since a reply is stored a moment before its task begins.
        """
        pod_id = self._lease.pod_id
        orphans: set[int] = set()
        abandoned: list[Streaming] = []
        for reply in await self._messages.unowned(pod_id, judge=True):
            if reply.owner == pod_id:
                if self._running.get(reply.reply_id, reply.begun_at) is not None:
                    continue
                if reply.reply_id not in self._suspects:
                    orphans.add(reply.reply_id)
                    continue
            abandoned.append(reply)
        self._suspects = orphans
        await self._interrupt_all(abandoned)

    async def take_over(self) -> None:
        """End what pods have left that are not on the list any more: those are dead for sure."""
        pod_id = self._lease.pod_id
        left = await self._messages.unowned(pod_id, judge=False)
        await self._interrupt_all(reply for reply in left if reply.owner != pod_id)

    async def _interrupt_all(self, replies: Iterable[Streaming]) -> None:
        """End all of them, also where some cannot be ended now; raises the first failure."""
        left = iter(replies)
        failures: list[OperatorError] = []

        async def work() -> None:
            for reply in left:
                try:
                    await self._interrupt(reply)
                except OperatorError as error:
                    failures.append(error)
                    if len(failures) >= MOST_FAILURES:
                        return

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        if failures:
            raise failures[0]

    async def _interrupt(self, reply: Streaming) -> None:
        metadata = {
            "status": str(ReplyStatus.INTERRUPTED),
            "error": str(ErrorCode.REPLY_INTERRUPTED),
        }
        if await self._messages.interrupt(reply, metadata) is None:
            return
        log.warning("reply interrupted", session_id=reply.session_id, reply_id=reply.reply_id)
        telemetry.reply_counter(str(ReplyStatus.INTERRUPTED))()
        self._hub.notify_pods(reply.session_id)
        self._hub.refresh((reply.session_id,))
