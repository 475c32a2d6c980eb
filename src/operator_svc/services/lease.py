"""Who owns the replies: leases of pods, and the sweep of what dead ones left."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import ReplyStatus
from operator_svc.services.chat.reply_writer import ReplyWriter
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.messages import MessageStore, Streaming
from operator_svc.stores.pods import PodStore

log = structlog.get_logger(__name__)

RENEWALS_A_TTL = 3
"""How often a lease is renewed within its time to live."""


class Lease:
    """The lease of this process.

    ``shared`` says whether other processes use the same database; where none can, everything
    that is being written while nobody runs was left by a crash and is ended at the start.
    """

    def __init__(
        self,
        pods: PodStore,
        messages: MessageStore,
        reply_writer: ReplyWriter,
        hub: SessionHub,
        *,
        ttl: float,
        shared: bool,
    ) -> None:
        self._pods = pods
        self._messages = messages
        self._reply_writer = reply_writer
        self._hub = hub
        self._ttl = ttl
        self._shared = shared
        self._renewed = 0.0
        self._held_since = 0.0
        self._suspects: set[int] = set()
        self.sweeps: list[Callable[[str], Awaitable[None]]] = []
        """What else is done for those who are gone, each time; given this pod's id."""

    @property
    def interval(self) -> float:
        """Seconds between renewals."""
        return self._ttl / RENEWALS_A_TTL

    async def open(self) -> None:
        """Begin the lease."""
        await self._register()
        if not self._shared:
            for reply in await self._messages.unowned(self._reply_writer.pod_id):
                await self._interrupt(reply)
            await self._sweep_more()

    async def close(self) -> None:
        """Give the lease up; nothing may be being written any more."""
        await self._pods.remove(self._reply_writer.pod_id)

    async def step(self) -> None:
        """Renew the lease, and end what others left. To be called every ``interval``."""
        try:
            held = await self._pods.renew(self._reply_writer.pod_id, self._ttl)
        except OperatorError:
            if self._shared and time.monotonic() - self._renewed > self._ttl:
                await self._lost()
            raise
        if not held:
            await self._lost()
            return
        self._renewed = time.monotonic()
        # An outage of the database lets all leases run out at once: who finds others' run out
        # must have held its own since well before (architecture.md, storage rules).
        if not self._shared or self._renewed - self._held_since >= self._ttl:
            await self._sweep()
            await self._sweep_more()

    async def _register(self) -> None:
        await self._pods.register(self._reply_writer.pod_id, self._ttl)
        self._renewed = self._held_since = time.monotonic()

    async def _lost(self) -> None:
        if self._reply_writer.ids:
            log.error("the lease was lost", replies=len(self._reply_writer.ids))
        telemetry.LEASES_LOST.inc()
        self._reply_writer.lose()
        await self._register()

    async def _sweep(self) -> None:
        """End replies of dead pods, and those of this pod that no task writes.

        The latter come from a start whose answer was lost; they count only when they are seen
        twice, since a reply is stored a moment before its task begins.
        """
        orphans: set[int] = set()
        for reply in await self._messages.unowned(self._reply_writer.pod_id):
            if reply.owner == self._reply_writer.pod_id:
                if reply.reply_id in self._reply_writer.ids:
                    continue
                if reply.reply_id not in self._suspects:
                    orphans.add(reply.reply_id)
                    continue
            await self._interrupt(reply)
        self._suspects = orphans

    async def _sweep_more(self) -> None:
        for sweep in self.sweeps:
            await sweep(self._reply_writer.pod_id)

    async def _interrupt(self, reply: Streaming) -> None:
        ended = await self._messages.interrupt(
            reply,
            {
                "status": str(ReplyStatus.INTERRUPTED),
                "error": str(ErrorCode.REPLY_INTERRUPTED),
            },
        )
        if ended is not None:
            log.warning("reply interrupted", session_id=reply.session_id, reply_id=reply.reply_id)
            telemetry.REPLIES.labels(str(ReplyStatus.INTERRUPTED)).inc()
            self._hub.announce(reply.session_id)
            self._hub.refresh((reply.session_id,))
