"""Maintenance: renews the lease, recovers what dead pods left, purges, polls, measures the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from operator_svc import telemetry
from operator_svc.background import TaskOwner, forever
from operator_svc.errors import OperatorError
from operator_svc.services.lease import Lease

PURGE_INTERVAL = 300.0
"""Seconds between purges of what is kept for a limited time."""
POLL_INTERVAL = 1.0
"""Seconds between polls for changes that no notification brought."""
DEATH_INTERVAL = 0.25
"""Seconds between looks for pods that have died."""
LAG_INTERVAL = 0.25
"""Seconds between measurements of the event loop's lag."""

log = structlog.get_logger(__name__)

Job: TypeAlias = Callable[[], Awaitable[None]]


class Maintenance:
    """Runs what no request asks for.

    ``sweeps`` take over what pods that are gone have left, ``on_death`` what must not wait for
    them when one is found dead, ``purges`` delete what is older than its retention, and ``polls``
    repair lost notifications where other pods share the database.
    """

    def __init__(
        self,
        lease: Lease,
        *,
        sweeps: Sequence[Job],
        on_death: Sequence[Job],
        purges: Sequence[Job],
        polls: Sequence[Callable[[], None]],
    ) -> None:
        self._lease = lease
        self._sweeps = sweeps
        self._on_death = on_death
        self._purges = purges
        self._polls = polls

    async def begin(self) -> None:
        """Begin the lease; where no other process can own anything, sweep what a crash left.

        Raises OperatorError(database_unavailable).
        """
        await self._lease.begin()
        if self._lease.may_judge_others:
            await self._run(self._sweeps)

    def start(self, tasks: TaskOwner) -> None:
        """Begin all periodic work. To be called in the running loop."""
        tasks.start(self._lease.keep(), "lease")
        tasks.start(forever(self._sweep, self._lease.sweep_interval, "sweep"), "sweep")
        tasks.start(forever(self._purge, PURGE_INTERVAL, "purge"), "purge")
        tasks.start(measure_loop_lag(), "loop-lag")
        if self._lease.shared:
            tasks.start(forever(self._poll, POLL_INTERVAL, "poll"), "poll")
            tasks.start(forever(self._look_for_deaths, DEATH_INTERVAL, "deaths"), "deaths")

    async def _look_for_deaths(self) -> None:
        try:
            dead = await self._lease.find_dead()
        except OperatorError:  # the lease's renewal says so, and nobody is found meanwhile
            return
        if dead:
            log.warning("pods died", pods=dead)
            await self._run(self._on_death)

    async def _sweep(self) -> None:
        if self._lease.may_judge_others:
            await self._run(self._sweeps)

    async def _purge(self) -> None:
        await self._run(self._purges)

    async def _poll(self) -> None:
        for poll in self._polls:
            poll()

    async def _run(self, jobs: Sequence[Job]) -> None:
        """Run all jobs, those after a failed one too; raises the first failure and logs others."""
        failures = []
        for job in jobs:
            try:
                await job()
            except Exception as error:
                failures.append(error)
        for further in failures[1:]:
            log.warning("periodic work failed", exc_info=further)
        if failures:
            raise failures[0]


async def measure_loop_lag() -> None:
    """Measure how late the event loop is, for as long as it runs: what blocks it delays all."""
    while True:
        due = time.perf_counter() + LAG_INTERVAL
        await asyncio.sleep(LAG_INTERVAL)
        # The loop counts in milliseconds, so that a timer may also come a little early.
        telemetry.EVENT_LOOP_LAG_SECONDS.observe(max(time.perf_counter() - due, 0.0))
