"""Claims due browser tasks and runs them.

Users take turns, so that the many tasks of one do not hold up another's. A task belongs to the pod
that claimed it, for as long as that pod's lease holds. A request to stop a running task is stored
in the database, and the task's pod sees it within ``WATCH_INTERVAL``.
"""

from __future__ import annotations

import asyncio

import structlog

from operator_svc import telemetry
from operator_svc.background import TaskOwner
from operator_svc.errors import OperatorError
from operator_svc.models import TaskStatus
from operator_svc.services.browser.recorder import TaskRecorder
from operator_svc.services.browser.runner import Browsing, TaskRunner, WorkerOptions
from operator_svc.services.drain import DrainState
from operator_svc.services.lease import PodIdentity
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.browser_task_rows import ClaimedTask
from operator_svc.stores.browser_tasks import BrowserTaskStore

log = structlog.get_logger(__name__)

POLL_INTERVAL = 1.0
"""Seconds between looks for tasks of other pods, and for due ones, while some wait."""
IDLE_INTERVAL = 5.0
"""The same while none is known to wait; a process that is alone does not look then at all."""
LOST_CLAIM_PAUSE = 0.05
"""Seconds after which a task is claimed again whose session was just being written to; twice
as long each time in a row."""
WATCH_INTERVAL = 0.5
"""Seconds between looks whether running tasks are to stop, and waited-for ones have ended."""
QUEUE_COUNTED = 10_000
"""Waiting tasks that are counted at most."""


class BrowserWorker:
    """Runs the tasks of this pod. ``start`` it, and ``aclose`` it before the lease is given up."""

    def __init__(
        self,
        store: BrowserTaskStore,
        browser: Browsing,
        hub: SessionHub,
        lease: PodIdentity,
        drain: DrainState,
        options: WorkerOptions,
    ) -> None:
        self._store = store
        self._lease = lease
        self._drain = drain
        self._shared = options.shared
        self._recorder = TaskRecorder(store, hub)
        self.runner = TaskRunner(
            self._recorder, browser, lease, options, on_free=self.wake, on_end=self.notify
        )
        self._tasks = TaskOwner("browser-tasks")
        self._wake = asyncio.Event()
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._misses = 0
        self._last_user = ""
        self._claiming: asyncio.Task[None] | None = None
        self.closed = False

    def start(self) -> None:
        """Begin to claim and run tasks. To be called in the running loop."""
        self._claiming = self._tasks.start(self._claim_forever(), "claims")
        self._tasks.start(self._watch_forever(), "watch")

    def wake(self) -> None:
        """Look for tasks at once: there is a new one, or room for one."""
        self._wake.set()

    def drain(self) -> None:
        """Claim no more, and wake those who wait for a task that does not run."""
        self._drain.begin()
        self.wake()
        for task_id in list(self._waiters):
            self.notify(task_id)

    async def aclose(self, within: float) -> None:
        """Claim no more and give back what runs, for another pod or the next start.

        What cannot be given back within so many seconds is left to be found without an owner.
        """
        self.drain()
        try:
            async with asyncio.timeout(within):
                if self._claiming is not None:
                    await asyncio.wait([self._claiming])
                for running in self.runner:
                    running.stop("released")
                await self.runner.idle()
        except TimeoutError:
            log.error("browser tasks not released", tasks=len(self.runner))
        await self.abandon()
        for task_id in list(self._waiters):
            self.notify(task_id)

    async def abandon(self) -> None:
        """End at once. Tasks that still run are taken over by another pod, or at the next start."""
        self._drain.begin()
        self.closed = True
        await self._tasks.aclose()
        await self.runner.aclose()

    # Waiting for a task's end, and asking for it.

    def add_waiter(self, task_id: str) -> asyncio.Event:
        """An event that is set when the task may have ended; ``remove_waiter`` gives it back."""
        event = asyncio.Event()
        self._waiters.setdefault(task_id, set()).add(event)
        return event

    def remove_waiter(self, task_id: str, event: asyncio.Event) -> None:
        """Forget an event that nobody waits for any more."""
        waiters = self._waiters.get(task_id, set())
        waiters.discard(event)
        if not waiters:
            self._waiters.pop(task_id, None)

    def notify(self, task_id: str) -> None:
        """Wake those who wait for a task."""
        for event in self._waiters.get(task_id, ()):
            event.set()

    def cancel(self, task_id: str) -> None:
        """Stop a task at once, if it runs here."""
        running = self.runner.get(task_id)
        if running is not None:
            running.stop("cancelled")

    async def _watch_forever(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            try:
                await self._watch()
            except OperatorError as error:
                log.warning("browser tasks not watched", error=str(error.code))

    async def _watch(self) -> None:
        """Stop tasks that were cancelled, deleted or taken over; wake those who wait for an end."""
        pod_id = self._lease.pod_id
        for running in self.runner:
            if running.task.owner != pod_id:
                running.stop("lost")
        # What begins to run while the answer is on its way is none of its business.
        here = {running.task.task_id: running for running in self.runner}
        asked = here.keys() | self._waiters.keys()
        if not asked:
            return
        states = {state.task_id: state for state in await self._store.states(sorted(asked))}
        for task_id, running in here.items():
            state = states.get(task_id)
            if state is None or state.owner != running.task.owner:
                running.stop("lost")
            elif state.cancel_requested:
                running.stop("cancelled")
        for task_id in asked:
            state = states.get(task_id)
            if state is None or state.status not in (TaskStatus.PENDING, TaskStatus.RUNNING):
                self.notify(task_id)

    # Claiming.

    async def _claim_forever(self) -> None:
        while not self._drain.draining:
            self._wake.clear()
            try:
                pause = await self._fill()
            except OperatorError as error:
                log.warning("browser tasks not claimed", error=str(error.code))
                pause = POLL_INTERVAL
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _fill(self) -> float | None:
        """Claim tasks while there is room. Returns the seconds until the next look; None waits for
        a wake."""
        while not self._drain.draining and self.runner.has_room:
            if self.runner.pause:
                return self.runner.pause
            claimed = await self._claim_next()
            if claimed is None:
                break
            self._misses = 0
            self.runner.begin(claimed)
        waiting = await self._store.waiting(QUEUE_COUNTED)
        telemetry.BROWSER_QUEUE.set(waiting.pending)
        if waiting.due and self.runner.has_room:
            self._misses += 1
            return min(LOST_CLAIM_PAUSE * 2.0 ** min(self._misses, 10), POLL_INTERVAL)
        if waiting.pending:
            return POLL_INTERVAL
        return IDLE_INTERVAL if self._shared else None

    async def _claim_next(self) -> ClaimedTask | None:
        """A task of the user whose turn it is: users take turns in the order of their ids. Those
        with as many running tasks here as they may have are passed over."""
        passed_over = self.runner.users_at_limit
        for after in (self._last_user, "") if self._last_user else ("",):
            claimed = await self._recorder.claim(
                self._lease.pod_id, after=after, passed_over=passed_over
            )
            if claimed is not None:
                self._last_user = claimed.user_id
                return claimed
        return None
