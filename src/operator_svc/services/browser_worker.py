"""The pod's hands for browser tasks: it claims what is due, has the page opened, keeps the end.

A task is the pod's that claimed it, as long as that pod's lease holds; every write says whose it
must be. Whoever wants a running task to stop says so in the database, and its pod sees it within
``WATCH_INTERVAL``. A page that failed has an end; where the browser service was away or died, the
page is tried again a bounded number of times, later each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol

import structlog

from operator_svc import telemetry
from operator_svc.background import TaskOwner
from operator_svc.errors import OperatorError
from operator_svc.models import BrowserTask, Json, TaskStatus
from operator_svc.peers.browser import BrowserAwayError, BrowserBusyError, BrowserDiedError, Visit
from operator_svc.protocol.browser import DEFAULT_TIMEOUT_MS
from operator_svc.services import browser_facts as facts
from operator_svc.services.live import Live
from operator_svc.stores.browser_tasks import (
    BrowserTaskStore,
    Claimed,
    Ending,
    Moved,
    last_event,
)

log = structlog.get_logger(__name__)

PAGES_A_POD = 4
"""Pages that one pod has opened at once; what the browser service opens at once by default."""
RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0, 10.0)
"""Seconds between tries while the browser service is away; one more failure ends the task."""
DEATHS = 3
"""A page under which the browser died so often is at fault itself (issue of browser tasks)."""
DEATH_DELAY = 1.0
BUSY_MIN, BUSY_MAX = 0.2, 10.0
"""Bounds of the pause, in seconds, after the service said that its queue is full."""
POLL_INTERVAL = 1.0
"""Seconds between looks for tasks of other pods, and for due ones, while some wait."""
IDLE_INTERVAL = 5.0
"""The same while none is known to wait; a process that is alone does not look then at all."""
LOST_CLAIM_PAUSE = 0.05
"""Seconds after which a task is claimed again whose session was just being written to."""
PROBE_INTERVAL = 0.25
"""Seconds between pages, one at a time, while the service is away."""
WATCH_INTERVAL = 0.5
"""Seconds between looks whether running tasks are to stop, and waited-for ones have ended."""
QUEUE_COUNTED = 10_000
STORE_PAUSE, STORE_PAUSE_MAX = 0.05, 2.0

Stop = Literal["cancelled", "released", "lost"]


class Browsing(Protocol):
    """The browser service, as far as a task needs it."""

    async def navigate(self, url: str, options: Mapping[str, Json], seconds: float) -> Visit:
        """See peers.browser.Browser.navigate."""


class Running:
    """A task that this process runs."""

    def __init__(self, task: Claimed) -> None:
        self.task = task
        self.stopped: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()

    @property
    def alone(self) -> bool:
        """Whether it gets the browser for itself: a page that brings it down must not be
        mistaken for those that it takes with it."""
        return self.task.deaths > 0

    def stop(self, how: Stop) -> None:
        """End the visit soon; the first reason counts."""
        if not self.stopped.done():
            self.stopped.set_result(how)


class BrowserWorker:
    """Runs the tasks of this pod. ``start`` it, and ``aclose`` it before the lease is given up.

    ``pod_id`` tells the present owner's name, which changes when a lease is lost.
    """

    def __init__(
        self,
        store: BrowserTaskStore,
        browser: Browsing,
        live: Live,
        pod_id: Callable[[], str],
        *,
        shared: bool,
        pages: int = PAGES_A_POD,
        retry_delays: tuple[float, ...] = RETRY_DELAYS,
        death_delay: float = DEATH_DELAY,
    ) -> None:
        self._store = store
        self._browser = browser
        self._live = live
        self._pod_id = pod_id
        self._shared = shared
        self._pages = pages
        self._delays = retry_delays
        self._death_delay = death_delay
        self._tasks = TaskOwner("browser-tasks")
        self._running: dict[str, Running] = {}
        self._freed = asyncio.Event()
        self._wake = asyncio.Event()
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._away_until: float | None = None
        self._claiming: asyncio.Task[None] | None = None
        self.draining = False
        self.closed = False

    def __len__(self) -> int:
        return len(self._running)

    def start(self) -> None:
        """Begin to claim and run tasks. To be called in the running loop."""
        self._claiming = self._tasks.start(self._claim_forever(), "claims")
        self._tasks.start(self._watch_forever(), "watch")

    def wake(self) -> None:
        """There is a new task, or room for one."""
        self._wake.set()

    async def idle(self) -> None:
        """Wait until no task runs."""
        while self._running:
            self._freed.clear()
            await self._freed.wait()

    async def aclose(self, within: float) -> None:
        """Claim no more and give back what runs, for another pod or the next start.

        What can not be given back within so many seconds is left to be found without an owner.
        """
        self.draining = True
        self.wake()
        try:
            async with asyncio.timeout(within):
                if self._claiming is not None:
                    await asyncio.wait([self._claiming])
                for running in self._running.values():
                    running.stop("released")
                await self.idle()
        except TimeoutError:
            log.error("browser tasks could not be given back", tasks=len(self._running))
        self.closed = True
        await self._tasks.aclose()
        for task_id in list(self._waiters):
            self.ended(task_id)

    # Who waits for a task, or wants it to stop.

    def waiter(self, task_id: str) -> asyncio.Event:
        """An event that is set when the task may have ended; give it back by ``leave``."""
        event = asyncio.Event()
        self._waiters.setdefault(task_id, set()).add(event)
        return event

    def leave(self, task_id: str, event: asyncio.Event) -> None:
        """Nobody waits for ``event`` any more."""
        waiters = self._waiters.get(task_id, set())
        waiters.discard(event)
        if not waiters:
            self._waiters.pop(task_id, None)

    def ended(self, task_id: str) -> None:
        """Tell those who wait for a task."""
        for event in self._waiters.get(task_id, ()):
            event.set()

    def runs(self, task_id: str) -> bool:
        """Whether a task runs here."""
        return task_id in self._running

    def cancel(self, task_id: str) -> None:
        """Stop a task at once, if it runs here."""
        running = self._running.get(task_id)
        if running is not None:
            running.stop("cancelled")

    async def _watch_forever(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            try:
                await self._watch()
            except OperatorError as error:
                log.warning("running tasks could not be looked after", error=str(error.code))

    async def _watch(self) -> None:
        """Stop tasks that somebody cancelled, deleted or took; tell of those that ended."""
        pod_id = self._pod_id()
        for running in self._running.values():
            if running.task.owner != pod_id:
                running.stop("lost")
        asked = set(self._running) | set(self._waiters)
        if not asked:
            return
        states = {state.task_id: state for state in await self._store.states(sorted(asked))}
        for task_id in asked:
            state = states.get(task_id)
            here = self._running.get(task_id)
            if here is not None and (state is None or state.owner != here.task.owner):
                here.stop("lost")
            elif here is not None and state is not None and state.cancel_requested:
                here.stop("cancelled")
            if state is None or state.status not in (TaskStatus.PENDING, TaskStatus.RUNNING):
                self.ended(task_id)

    # Claiming.

    async def _claim_forever(self) -> None:
        while not self.draining:
            self._wake.clear()
            try:
                pause = await self._fill()
            except OperatorError as error:
                log.warning("no task could be claimed", error=str(error.code))
                pause = POLL_INTERVAL
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _fill(self) -> float | None:
        """Claim as long as there is room; seconds until the next look, None is for a wake."""
        loop = asyncio.get_running_loop()
        while not self.draining and self._room():
            if self._away_until is not None and (wait := self._away_until - loop.time()) > 0:
                return wait
            claimed = await self._store.claim(self._pod_id())
            if claimed is None:
                break
            self._begin(claimed)
        waiting = await self._store.waiting(QUEUE_COUNTED)
        telemetry.BROWSER_QUEUE.set(waiting.pending)
        if waiting.due and self._room():
            return LOST_CLAIM_PAUSE
        if waiting.pending:
            return POLL_INTERVAL
        return IDLE_INTERVAL if self._shared else None

    def _room(self) -> bool:
        if any(running.alone for running in self._running.values()):
            return False
        return len(self._running) < (self._pages if self._away_until is None else 1)

    def _begin(self, task: Claimed) -> None:
        running = self._running[task.task_id] = Running(task)
        facts.show(self._live, task.session_id, task, "browser_task.started")
        self._tasks.start(self._run(running), task.task_id)

    # Running.

    async def _run(self, running: Running) -> None:
        task = running.task
        structlog.contextvars.bind_contextvars(task_id=task.task_id, session_id=task.session_id)
        try:
            outcome = await self._visit(running)
            await self._settle(running, outcome)
        finally:
            del self._running[task.task_id]
            self._freed.set()
            self.wake()

    async def _visit(self, running: Running) -> Visit | OperatorError | None:
        """What came of the page, or why nothing did; None where the task was stopped."""
        visit = self._tasks.start(self._navigate(running), "visit")
        either: set[asyncio.Future[Any]] = {visit, running.stopped}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return visit.result() if visit.done() else None
        finally:
            visit.cancel()  # which closes the connection: the service then stops the page
            await asyncio.gather(visit, return_exceptions=True)

    async def _navigate(self, running: Running) -> Visit | OperatorError:
        """The visit; errors are returned, for whoever asked may have stopped it."""
        task = running.task
        while running.alone and len(self._running) > 1:
            self._freed.clear()
            await self._freed.wait()
        options = task.options if isinstance(task.options, dict) else {}
        seconds = options.get("timeout_ms", DEFAULT_TIMEOUT_MS) / 1000
        while True:
            try:
                visit = await self._browser.navigate(task.url, options, seconds)
            except BrowserBusyError as busy:
                self._away_until = None
                await asyncio.sleep(min(max(busy.retry_after or 0.0, BUSY_MIN), BUSY_MAX))
                continue
            except BrowserAwayError as away:
                self._away_until = asyncio.get_running_loop().time() + PROBE_INTERVAL
                return away
            except OperatorError as error:
                self._away_until = None
                return error
            self._away_until = None
            return visit

    async def _settle(self, running: Running, outcome: Visit | OperatorError | None) -> None:
        """Store what came of a task: its end, or that it waits for another try."""
        task = running.task
        if isinstance(outcome, Visit):
            await self._end(running, facts.of_visit(task, outcome))
        elif isinstance(outcome, BrowserAwayError | BrowserDiedError):
            await self._try_again(running, outcome)
        elif outcome is not None:
            log.warning("browser task failed", error=str(outcome.code), detail=outcome.detail)
            await self._end(running, facts.of_failure(task, outcome))
        elif running.stopped.result() == "cancelled":
            await self._end(running, facts.cancelled(task))
        elif running.stopped.result() == "released":
            await self._release(running, task.attempts, task.deaths, 0.0)

    async def _try_again(self, running: Running, why: OperatorError) -> None:
        task = running.task
        died = isinstance(why, BrowserDiedError)
        attempts, deaths = task.attempts + 1, task.deaths + died
        log.warning("the browser failed a task", attempts=attempts, died=died, detail=why.detail)
        if deaths >= DEATHS:
            reason = f"the browser died under the page, {deaths} times"
            await self._end(running, facts.failed(task, reason, attempts=attempts, deaths=deaths))
        elif attempts > len(self._delays):
            await self._end(running, facts.unavailable(task, attempts, deaths))
        else:
            delay = self._death_delay if died else self._delays[attempts - 1]
            await self._release(running, attempts, deaths, delay)

    # Storing.

    async def _release(self, running: Running, attempts: int, deaths: int, delay: float) -> None:
        task = running.task
        data = facts.of_pending(task, attempts)
        moved = await self._store_until_done(
            lambda: self._store.release(
                task, attempts=attempts, deaths=deaths, delay=delay, data=data
            ),
            task,
        )
        if moved is None:  # asked to stop in this moment, or not ours any more
            await self._end(running, facts.cancelled(task))
            return
        facts.show(self._live, task.session_id, moved, "browser_task.queued")
        asyncio.get_running_loop().call_later(delay, self.wake)

    async def _end(self, running: Running, ending: Ending) -> None:
        task = running.task
        data = facts.of_ending(task, ending)
        moved = await self._store_until_done(lambda: self._store.end(task, ending, data), task)
        if moved is not None:
            telemetry.BROWSER_TASKS.labels(str(ending.status)).inc()
            facts.show(self._live, task.session_id, moved, last_event(ending.status))
        elif task.session_id is not None:
            # Another pod ended it, or an attempt that seemed to fail was stored.
            self._live.refresh((task.session_id,))
        self.ended(task.task_id)

    async def _store_until_done(
        self, write: Callable[[], Awaitable[Moved | None]], task: BrowserTask
    ) -> Moved | None:
        """Try a write until the database answers; None where the task is not ours any more."""
        pause = STORE_PAUSE
        while task.owner == self._pod_id():
            try:
                return await write()
            except OperatorError as error:
                log.warning("a task's state could not be stored yet", error=str(error.code))
                await asyncio.sleep(pause)
                pause = min(pause * 2, STORE_PAUSE_MAX)
        return None
