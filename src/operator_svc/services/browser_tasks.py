"""Browser tasks: stored first, opened by whichever pod has room, found again after a restart."""

from __future__ import annotations

import asyncio
import base64
import binascii
import uuid

import structlog

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import BrowserTask, Caller, Screenshot, TaskStatus
from operator_svc.protocol import events as names
from operator_svc.protocol.browser import (
    BrowserTaskFact,
    BrowserTaskList,
    BrowserTaskRequest,
    BrowserTaskView,
    screenshot_path,
    task_view,
)
from operator_svc.services import browser_facts as facts
from operator_svc.services.browser_worker import RETRY_DELAYS, BrowserWorker
from operator_svc.services.live import Live, LiveEvent
from operator_svc.stores.browser_tasks import (
    NEWEST,
    BrowserTaskStore,
    Ending,
    Line,
    Moved,
    last_event,
)

log = structlog.get_logger(__name__)

DEFAULT_USER = "local"
ADD_ATTEMPTS = 4
"""Races that a new task may lose against others that make or delete the same session."""
CANCEL_ATTEMPTS = 4
CANCEL_WAIT = 5.0
"""Seconds that a cancel waits for a running task's end before it answers with what there is."""
PURGE_PAGE = 100
UNFINISHED = frozenset({TaskStatus.PENDING, TaskStatus.RUNNING})


class BrowserTasks:
    """Stores tasks, waits for them, cancels them and shows them.

    ``worker`` is None where there is no browser service: then nothing new is taken.
    """

    def __init__(
        self,
        store: BrowserTaskStore,
        worker: BrowserWorker | None,
        live: Live,
        *,
        screenshot_retention: float,
    ) -> None:
        self._store = store
        self._worker = worker
        self._live = live
        self._retention = screenshot_retention
        self._suspects: set[str] = set()
        self.draining = False

    # New tasks.

    async def add(self, caller: Caller, asked: BrowserTaskRequest) -> str:
        """Store a task to be run soon; returns its id.

        Raises OperatorError: draining, browser_unavailable where none is configured, forbidden,
        session_not_found, database_unavailable.
        """
        if self.draining:
            raise OperatorError(
                ErrorCode.DRAINING, "this process is about to stop", retry_after=1.0
            )
        if self._worker is None:
            raise OperatorError(
                ErrorCode.BROWSER_UNAVAILABLE, "no browser service is configured (BROWSER_URL)"
            )
        if caller.user_id is not None and asked.user_id not in (None, caller.user_id):
            raise OperatorError(ErrorCode.FORBIDDEN, "this token is bound to another user")
        task_id = uuid.uuid4().hex
        await self._add(caller, asked, task_id)
        self._worker.wake()
        return task_id

    async def _add(self, caller: Caller, asked: BrowserTaskRequest, task_id: str) -> None:
        session_id = asked.session_id
        user_id = caller.user_id or asked.user_id or DEFAULT_USER
        data = facts.of_new(task_id, session_id, asked.url)
        for _ in range(ADD_ATTEMPTS):
            moved = await self._store.add(
                task_id=task_id,
                session_id=session_id,
                viewer=caller.user_id,
                user_id=user_id,
                url=asked.url,
                options=asked.options,
                data=data,
            )
            if moved is not None:
                facts.show(self._live, session_id, moved, "browser_task.queued")
                return
            assert session_id is not None, "a task without a session is always stored"
            epoch = str(uuid.uuid4())
            moved = await self._store.add_new(
                task_id=task_id,
                session_id=session_id,
                epoch=epoch,
                user_id=user_id,
                source=asked.source,
                url=asked.url,
                options=asked.options,
                data=data,
            )
            if moved is not None:
                self._show_session(session_id, epoch, user_id, asked.source, moved)
                return
        raise OperatorError(ErrorCode.SESSION_NOT_FOUND, "there is no such session")

    def _show_session(
        self, session_id: str, epoch: str, user_id: str, source: str, moved: Moved
    ) -> None:
        self._live.created(session_id, epoch)
        created = {"session_id": session_id, "user_id": user_id, "source": source}
        self._live.offer(
            session_id, LiveEvent.make(session_id, 1, names.SESSION_CREATED, moved.ts, created)
        )
        facts.show(self._live, session_id, moved, "browser_task.queued")

    # Showing and waiting.

    async def get(self, caller: Caller, task_id: str) -> BrowserTaskView:
        """A task as it stands; raises OperatorError(task_not_found)."""
        return await self._view(await self._find(caller, task_id))

    async def _find(self, caller: Caller, task_id: str) -> BrowserTask:
        task = await self._store.get(task_id, caller.user_id)
        if task is None:
            raise OperatorError(ErrorCode.TASK_NOT_FOUND, "there is no such task")
        return task

    async def _view(self, task: BrowserTask) -> BrowserTaskView:
        position = None
        if task.status == TaskStatus.PENDING:
            position = await self._store.ahead(task) + 1
        return task_view(task, position)

    async def wait(self, caller: Caller, task_id: str, within: float) -> BrowserTaskView:
        """The task when it has ended, or as it stands after so many seconds.

        Raises OperatorError(task_not_found), also where it is deleted meanwhile.
        """
        worker = self._worker
        if worker is None or within <= 0:
            return await self.get(caller, task_id)
        ended = worker.waiter(task_id)
        try:
            async with asyncio.timeout(within):
                while True:
                    task = await self._find(caller, task_id)
                    if task.status not in UNFINISHED or worker.closed:
                        return await self._view(task)
                    await ended.wait()
                    ended.clear()
        except TimeoutError:
            return await self.get(caller, task_id)
        finally:
            worker.leave(task_id, ended)

    async def page(
        self,
        caller: Caller,
        *,
        session_id: str | None,
        user_id: str | None,
        status: TaskStatus | None,
        limit: int,
        cursor: str | None,
    ) -> BrowserTaskList:
        """A page of tasks, newest first. Raises OperatorError: forbidden, invalid_parameter."""
        if caller.user_id is not None and user_id not in (None, caller.user_id):
            raise OperatorError(ErrorCode.FORBIDDEN, "this token is bound to another user")
        rows = await self._store.page(
            session_id=session_id,
            user_id=caller.user_id or user_id,
            status=None if status is None else str(status),
            before=_place(cursor) if cursor else NEWEST,
            limit=limit + 1,
        )
        more = len(rows) > limit
        rows = rows[:limit]
        return BrowserTaskList([_line(row) for row in rows], _cursor(rows[-1]) if more else None)

    async def screenshot_etag(self, caller: Caller, task_id: str) -> str:
        """The entity tag of a task's picture; raises OperatorError(task_not_found)."""
        task = await self._find(caller, task_id)
        if task.screenshot_etag is None:
            raise _no_screenshot()
        return task.screenshot_etag

    async def screenshot(self, caller: Caller, task_id: str) -> Screenshot:
        """A task's picture; raises OperatorError(task_not_found)."""
        await self._find(caller, task_id)
        picture = await self._store.screenshot(task_id)
        if picture is None:
            raise _no_screenshot()
        return picture

    # Cancelling.

    async def cancel(self, caller: Caller, task_id: str) -> BrowserTaskView:
        """Stop a task, whichever pod runs it; one that has ended stays as it is."""
        for _ in range(CANCEL_ATTEMPTS):
            task = await self._find(caller, task_id)
            if task.status == TaskStatus.PENDING:
                if await self._end(task, facts.cancelled(task)):
                    return await self.get(caller, task_id)
            elif task.status == TaskStatus.RUNNING:
                if await self._store.request_cancel(task_id):
                    if self._worker is not None:
                        self._worker.cancel(task_id)
                    return await self.wait(caller, task_id, CANCEL_WAIT)
            else:
                return await self._view(task)
        return await self.get(caller, task_id)

    async def _end(self, task: BrowserTask, ending: Ending) -> bool:
        """Store the end of a task that does not run here; False where it changed meanwhile."""
        moved = await self._store.end(task, ending, facts.of_ending(task, ending))
        if moved is None:
            return False
        telemetry.BROWSER_TASKS.labels(str(ending.status)).inc()
        facts.show(self._live, task.session_id, moved, last_event(ending.status))
        if self._worker is not None:
            self._worker.ended(task.task_id)
        return True

    # What others left, and what is old.

    async def reclaim(self, pod_id: str) -> None:
        """Let tasks wait again whose owner is gone.

        To be called at the start where no other process uses the database, else now and then,
        but only by a pod that has held its own lease for a while (see services.ownership).
        Tasks of ``pod_id`` itself that nobody here runs come from a claim whose answer was lost;
        they count when they are seen twice, since a task is claimed a moment before it is run.
        """
        orphans: set[str] = set()
        for task in await self._store.unowned(pod_id):
            if task.owner == pod_id:
                if self._worker is not None and self._worker.runs(task.task_id):
                    continue
                if task.task_id not in self._suspects:
                    orphans.add(task.task_id)
                    continue
            await self._reclaim(task)
        self._suspects = orphans

    async def _reclaim(self, task: BrowserTask) -> None:
        attempts = task.attempts + 1
        log.warning("browser task left by its owner", task_id=task.task_id, attempts=attempts)
        if task.cancel_requested:
            await self._end(task, facts.cancelled(task))
        elif attempts > len(RETRY_DELAYS):
            await self._end(task, facts.unavailable(task, attempts, task.deaths))
        else:
            data = facts.of_pending(task, attempts)
            moved = await self._store.release(
                task, attempts=attempts, deaths=task.deaths, delay=0.0, data=data
            )
            if moved is not None:
                facts.show(self._live, task.session_id, moved, "browser_task.queued")
                if self._worker is not None:
                    self._worker.wake()

    async def purge(self) -> None:
        """Delete pictures that are older than their retention."""
        purged = PURGE_PAGE
        while purged >= PURGE_PAGE:
            purged = await self._store.purge_screenshots(self._retention, PURGE_PAGE)

    # Start and end.

    def start(self) -> None:
        """Begin to run tasks."""
        if self._worker is not None:
            self._worker.start()

    async def drain(self, within: float) -> None:
        """Take nothing new, let running tasks end for so many seconds, then give them back.

        Those who wait for a task are answered then.
        """
        self.draining = True
        if self._worker is None:
            return
        self._worker.draining = True
        try:
            async with asyncio.timeout(within):
                await self._worker.idle()
        except TimeoutError:
            log.warning("browser tasks given back", tasks=len(self._worker))
        await self.aclose()

    async def aclose(self, within: float = CANCEL_WAIT) -> None:
        """Give back what runs; before the lease is given up."""
        self.draining = True
        if self._worker is not None:
            await self._worker.aclose(within)


def _no_screenshot() -> OperatorError:
    return OperatorError(ErrorCode.TASK_NOT_FOUND, "this task has no screenshot")


def _line(row: Line) -> BrowserTaskFact:
    return BrowserTaskFact(
        task_id=row.task_id,
        session_id=row.session_id,
        url=row.url,
        status=row.status,
        attempts=row.attempts,
        title=row.title,
        text_snippet=row.text_snippet,
        final_url=row.final_url,
        http_status=row.http_status,
        screenshot_path=screenshot_path(row.task_id, row.screenshot_etag),
        error=row.error,
        duration_ms=row.duration_ms,
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
    )


def _cursor(row: Line) -> str:
    return base64.urlsafe_b64encode(str(row.id).encode()).decode().rstrip("=")


def _place(cursor: str) -> int:
    try:
        place = int(base64.urlsafe_b64decode((cursor + "=" * (-len(cursor) % 4)).encode()))
    except (ValueError, binascii.Error):
        place = -1
    if not 0 <= place <= NEWEST:
        raise OperatorError(ErrorCode.INVALID_PARAMETER, "cursor: it is not one of ours")
    return place
