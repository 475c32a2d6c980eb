"""The lease of this process: the name under which it owns replies, tasks and records."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Protocol

import structlog

from operator_svc import telemetry
from operator_svc.errors import OperatorError
from operator_svc.models import Backend
from operator_svc.stores.pods import PodStore

log = structlog.get_logger(__name__)

RENEWALS_A_TTL = 3
"""Renewals of a lease within its time to live, at least."""
LEASE_CONNECTIONS = 2
"""Dedicated connections of each way to the database: one renews the lease, one looks for dead pods.
Those of the second way are opened only where the first one gives no answer."""
LEASE_SECONDS = 1.5
"""Longest wait for the database in both; then they are tried again. Answers of both ways that are
lost leave time for another renewal within ``DEATH_SILENCE``."""
RENEWAL_MAX = 1.0
"""Longest time, in seconds, between renewals; half of the silence that means a death."""
RETRY_PAUSE = 0.3
"""Seconds between attempts to renew, after the first one that is made at once."""
DEATH_SILENCE = 2.0
"""Seconds without a renewal after which a pod whose database session has ended is dead."""
SETTLED = 5.0
"""Seconds that a pod must have had its own session before it finds others dead: when a server
restarts, all sessions end, and each pod needs a moment to be back."""


class PodIdentity(Protocol):
    """The id under which this process owns what it works on."""

    @property
    def pod_id(self) -> str:
        """The present id. It changes when the lease is lost: work begun before is not ours."""


class Lease:
    """A row in operator_pod that holds for ``ttl`` seconds by the database's clock and is renewed.

    A lease that ran out is never prolonged, since other pods may own its work by now: this
    process begins another one, under a new id. ``shared`` says whether other processes use the
    same database; where none do, a database that cannot be reached does not end the lease.
    ``backend`` gives the database session that ends with this process, whatever ends it.
    """

    def __init__(
        self,
        pods: PodStore,
        *,
        ttl: float,
        shared: bool,
        backend: Callable[[], Backend | None] = lambda: None,
    ) -> None:
        self._pods = pods
        self._ttl = ttl
        self._backend = backend
        self._on_loss: list[Callable[[], None]] = []
        self._pod_id = uuid.uuid4().hex
        self._held = False
        self._held_since = 0.0
        self._renewed = 0.0
        self.shared = shared

    @property
    def pod_id(self) -> str:
        """See PodIdentity."""
        return self._pod_id

    @property
    def interval(self) -> float:
        """Seconds between renewals."""
        return min(self._ttl / RENEWALS_A_TTL, RENEWAL_MAX)

    @property
    def sweep_interval(self) -> float:
        """Seconds between sweeps of what others have left."""
        return self._ttl / RENEWALS_A_TTL

    @property
    def may_judge_others(self) -> bool:
        """True once other pods' leases that have run out say that those pods are gone.

        An outage of the database lets all leases run out at once, so a pod must have held its own
        for a whole ``ttl`` before. Alone, there are no others.
        """
        return self._held and (not self.shared or self._renewed - self._held_since >= self._ttl)

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called whenever the lease is lost, before another one begins."""
        self._on_loss.append(callback)

    async def begin(self) -> None:
        """Register this process. Raises OperatorError(database_unavailable)."""
        await self._pods.register(self._pod_id, self._ttl, self._backend())
        self._held = True
        self._renewed = self._held_since = time.monotonic()

    async def keep(self) -> None:
        """Renew the lease for as long as it runs. What fails is tried again at once, then soon."""
        failures = 0
        while True:
            try:
                await self.renew()
            except OperatorError as error:
                failures += 1
                if failures == 1:
                    log.warning("lease not renewed yet", error=error.detail)
                await asyncio.sleep(0.0 if failures == 1 else RETRY_PAUSE)
            else:
                failures = 0
                await asyncio.sleep(self.interval)

    async def find_dead(self) -> list[str]:
        """The pods that have died and were not found yet; what they owned is theirs no more.

        Raises OperatorError(database_unavailable).
        """
        return await self._pods.remove_dead(self._pod_id, silence=DEATH_SILENCE, settled=SETTLED)

    async def renew(self) -> None:
        """Prolong the lease, or begin another where it was lost. Call it every ``interval``.

        Raises OperatorError(database_unavailable).
        """
        try:
            held = self._held and await self._pods.renew(self._pod_id, self._ttl, self._backend())
        except OperatorError:
            if self.shared and time.monotonic() - self._renewed > self._ttl:
                await self._begin_anew()
            raise
        if held:
            self._renewed = time.monotonic()
        else:
            await self._begin_anew()

    async def release(self) -> None:
        """Give the lease up; nothing may be owned under it any more."""
        await self._pods.remove(self._pod_id)

    async def _begin_anew(self) -> None:
        if self._held:
            log.error("lease lost", pod_id=self._pod_id)
            telemetry.LEASES_LOST.inc()
        self._held = False
        # A new id for each attempt: an earlier one may be stored though its answer was lost.
        self._pod_id = uuid.uuid4().hex
        for callback in self._on_loss:
            callback()
        await self.begin()
