"""Runs browser tasks: has their pages opened, and stores what came of that.

A page that failed has ended; where the browser service was away or died, the page is tried again
a bounded number of times, later each time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import structlog

from operator_svc.background import TaskOwner
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Json
from operator_svc.peers.browser import BrowserAwayError, BrowserBusyError, BrowserDiedError
from operator_svc.protocol.navigate import DEFAULT_TIMEOUT_MS, Visit
from operator_svc.services.browser import outcomes
from operator_svc.services.browser.recorder import TaskRecorder
from operator_svc.services.lease import PodIdentity
from operator_svc.services.retry import until_stored
from operator_svc.stores.browser_task_rows import ClaimedTask, TaskOutcome

log = structlog.get_logger(__name__)

PAGES_A_POD = 4
"""Pages that one pod has opened at once; what the browser service opens at once by default."""
RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0, 10.0)
"""Seconds between tries while the browser service is away; one more failure ends the task."""
DEATHS = 3
"""Deaths of the browser under one page, after which the page has failed itself."""
DEATH_DELAY = 1.0
BUSY_MIN, BUSY_MAX = 0.2, 10.0
"""Bounds of the pause, in seconds, after the service said that its queue is full."""
PROBE_INTERVAL = 0.25
"""Seconds between pages, one at a time, while the service is away."""

Stop = Literal["cancelled", "released", "lost"]


class WorkerOptions(NamedTuple):
    """Options of a pod's worker: ``shared`` says that other pods share the queue, ``pages`` is the
    number of pages that it opens at once, ``pages_per_user`` of those for one user (0 is no
    limit), delays are seconds between tries of one task."""

    shared: bool
    pages: int = PAGES_A_POD
    pages_per_user: int = 0
    retry_delays: tuple[float, ...] = RETRY_DELAYS
    death_delay: float = DEATH_DELAY


class Browsing(Protocol):
    """The browser service, as far as a task needs it."""

    async def navigate(self, url: str, options: Mapping[str, Json], seconds: float) -> Visit:
        """See peers.browser.Browser.navigate."""


class RunningTask:
    """A task that this process runs."""

    def __init__(self, task: ClaimedTask) -> None:
        self.task = task
        self.stopped: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()

    @property
    def alone(self) -> bool:
        """True for a task that gets the browser for itself: a page that brings it down must not
        be mistaken for those that it takes with it."""
        return self.task.deaths > 0

    def stop(self, how: Stop) -> None:
        """End the visit soon; the first reason counts."""
        if not self.stopped.done():
            self.stopped.set_result(how)


class TaskRunner:
    """Runs the tasks of this pod, and says whether there is room for one more.

    ``on_free`` is called when there may be something to claim, ``on_end`` with the id of a task
    that does not run here any more.
    """

    def __init__(
        self,
        recorder: TaskRecorder,
        browser: Browsing,
        lease: PodIdentity,
        options: WorkerOptions,
        *,
        on_free: Callable[[], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._recorder = recorder
        self._browser = browser
        self._lease = lease
        self._options = options
        self._on_free = on_free
        self._on_end = on_end
        self._tasks = TaskOwner("browser-runs")
        self._running: dict[str, RunningTask] = {}
        self._freed = asyncio.Event()
        self._away_until: float | None = None

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[RunningTask]:
        return iter(list(self._running.values()))

    def get(self, task_id: str) -> RunningTask | None:
        """A task that runs here."""
        return self._running.get(task_id)

    @property
    def has_room(self) -> bool:
        """True while one more may be claimed."""
        if any(running.alone for running in self._running.values()):
            return False
        return len(self._running) < (self._options.pages if self._away_until is None else 1)

    @property
    def users_at_limit(self) -> list[str]:
        """The users with as many tasks that run here as one may have."""
        limit = self._options.pages_per_user
        running = Counter(running.task.user_id for running in self._running.values())
        return sorted(user for user, tasks in running.items() if limit and tasks >= limit)

    @property
    def pause(self) -> float:
        """Seconds until the next claim may be made: while the service is away, it is probed."""
        if self._away_until is None:
            return 0.0
        return max(self._away_until - asyncio.get_running_loop().time(), 0.0)

    def begin(self, task: ClaimedTask) -> None:
        """Run a task that this pod has claimed."""
        running = self._running[task.task_id] = RunningTask(task)
        self._tasks.start(self._run(running), task.task_id)

    async def idle(self) -> None:
        """Wait until no task runs."""
        while self._running:
            self._freed.clear()
            await self._freed.wait()

    async def aclose(self) -> None:
        """End at once; what still runs is left to be found without an owner."""
        await self._tasks.aclose()

    # One task.

    async def _run(self, running: RunningTask) -> None:
        task = running.task
        structlog.contextvars.bind_contextvars(task_id=task.task_id, session_id=task.session_id)
        try:
            outcome = await self._visit(running)
            await self._settle(running, outcome)
        except Exception:
            log.exception("browser task failed inside Operator")
            await self._end(running, outcomes.failed(task, str(ErrorCode.INTERNAL_ERROR)))
        finally:
            if self._running.get(task.task_id) is running:
                del self._running[task.task_id]
            self._freed.set()
            self._on_free()

    async def _visit(self, running: RunningTask) -> Visit | OperatorError | None:
        """Open the page: its outcome or the error; None where the task was stopped."""
        visit = self._tasks.start(self._navigate(running), "visit")
        either: set[asyncio.Future[Any]] = {visit, running.stopped}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return visit.result() if visit.done() else None
        finally:
            visit.cancel()  # which closes the connection: the service then stops the page
            await asyncio.gather(visit, return_exceptions=True)

    async def _navigate(self, running: RunningTask) -> Visit | OperatorError:
        """Visit the page. Errors are returned, because whoever asked may have stopped the task."""
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

    async def _settle(self, running: RunningTask, outcome: Visit | OperatorError | None) -> None:
        """Store a task's end, or its return to the queue for another try."""
        task = running.task
        if isinstance(outcome, Visit):
            await self._end(running, outcomes.of_visit(task, outcome))
        elif isinstance(outcome, BrowserAwayError | BrowserDiedError):
            await self._try_again(running, outcome)
        elif outcome is not None:
            log.warning("browser task failed", error=str(outcome.code), detail=outcome.detail)
            await self._end(running, outcomes.of_failure(task, outcome))
        elif running.stopped.result() == "cancelled":
            await self._end(running, outcomes.cancelled(task))
        elif running.stopped.result() == "released":
            await self._release(running, task.attempts, task.deaths, 0.0)

    async def _try_again(self, running: RunningTask, why: OperatorError) -> None:
        task = running.task
        died = isinstance(why, BrowserDiedError)
        attempts, deaths = task.attempts + 1, task.deaths + died
        log.warning("browser failed", attempts=attempts, died=died, detail=why.detail)
        if deaths >= DEATHS:
            reason = f"the browser died under the page, {deaths} times"
            outcome = outcomes.failed(task, reason, attempts=attempts, deaths=deaths)
            await self._end(running, outcome)
        elif attempts > len(self._options.retry_delays):
            await self._end(running, outcomes.unavailable(task, attempts, deaths))
        else:
            delay = self._options.death_delay if died else self._options.retry_delays[attempts - 1]
            await self._release(running, attempts, deaths, delay)

    # Storing, for as long as the task is this pod's.

    async def _release(
        self, running: RunningTask, attempts: int, deaths: int, delay: float
    ) -> None:
        task = running.task
        queued = await until_stored(
            lambda: self._recorder.release(task, attempts=attempts, deaths=deaths, delay=delay),
            "a browser task's next try",
            wanted=lambda: task.owner == self._lease.pod_id,
        )
        if queued:
            asyncio.get_running_loop().call_later(delay, self._on_free)
        else:  # asked to stop in this moment, or not ours any more
            await self._end(running, outcomes.cancelled(task))

    async def _end(self, running: RunningTask, outcome: TaskOutcome) -> None:
        task = running.task
        await until_stored(
            lambda: self._recorder.end(task, outcome),
            "a browser task's end",
            wanted=lambda: task.owner == self._lease.pod_id,
        )
        self._on_end(task.task_id)
