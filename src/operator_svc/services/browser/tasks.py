"""Browser tasks: stored first, opened by whichever pod has room, found again after a restart."""

from __future__ import annotations

import asyncio
import uuid

import structlog

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_ID, BrowserTask, Caller, Screenshot, TaskStatus
from operator_svc.protocol import events
from operator_svc.protocol.browser import (
    BrowserTaskList,
    BrowserTaskRequest,
    BrowserTaskView,
    task_view,
)
from operator_svc.services.access import acting_user, listed_user
from operator_svc.services.browser import outcomes
from operator_svc.services.browser.reclaimer import TaskReclaimer
from operator_svc.services.browser.recorder import TaskRecorder
from operator_svc.services.browser.worker import BrowserWorker
from operator_svc.services.drain import DrainState
from operator_svc.services.lease import PodIdentity
from operator_svc.services.live.events import session_created
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.pagination import id_cursor, parse_id_cursor
from operator_svc.stores.browser_task_rows import NewTask
from operator_svc.stores.browser_tasks import BrowserTaskStore
from operator_svc.stores.events import StoredEvent

log = structlog.get_logger(__name__)

ADD_ATTEMPTS = 4
"""Races that a new task may lose against others that make or delete the same session."""
CANCEL_ATTEMPTS = 4
CANCEL_WAIT = 5.0
"""Seconds that a cancel waits for a running task's end before it answers with what there is."""
UNFINISHED = frozenset({TaskStatus.PENDING, TaskStatus.RUNNING})


class BrowserTasks:
    """Stores tasks, waits for them, cancels them and shows them.

    ``worker`` is None where there is no browser service: then no new task is accepted.
    """

    def __init__(
        self,
        store: BrowserTaskStore,
        worker: BrowserWorker | None,
        hub: SessionHub,
        lease: PodIdentity,
        drain: DrainState,
        *,
        screenshot_retention: float,
    ) -> None:
        self._store = store
        self._worker = worker
        self._hub = hub
        self._drain = drain
        recorder = TaskRecorder(store, hub)
        self.reclaimer = TaskReclaimer(store, recorder, worker, lease, screenshot_retention)

    # New tasks.

    async def add(self, caller: Caller, asked: BrowserTaskRequest) -> str:
        """Store a task to be run soon; returns its id.

        Raises OperatorError: draining, browser_unavailable where none is configured, forbidden,
        session_not_found, database_unavailable.
        """
        self._drain.refuse_new()
        if self._worker is None:
            raise OperatorError(
                ErrorCode.BROWSER_UNAVAILABLE, "no browser service is configured (BROWSER_URL)"
            )
        user_id = acting_user(caller, asked.user_id)
        task_id = uuid.uuid4().hex
        await self._add(caller, user_id, asked, task_id)
        self._worker.wake()
        return task_id

    async def _add(
        self, caller: Caller, user_id: str, asked: BrowserTaskRequest, task_id: str
    ) -> None:
        session_id = asked.session_id
        new = NewTask(
            task_id=task_id,
            session_id=session_id,
            user_id=user_id,
            url=asked.url,
            options=asked.options,
        )
        for _ in range(ADD_ATTEMPTS):
            stored = await self._store.add(new, caller.user_id)
            if stored is not None:
                self._hub.publish_record(session_id, events.TASK_QUEUED, stored)
                return
            assert session_id is not None, "a task without a session is always stored"
            epoch = str(uuid.uuid4())
            stored = await self._store.add_new(new, epoch, asked.source)
            if stored is not None:
                self._publish_session(
                    session_id, self._store.epoch_in(epoch), new.user_id, asked.source, stored
                )
                return
        raise OperatorError(ErrorCode.SESSION_NOT_FOUND, "there is no such session")

    def _publish_session(
        self, session_id: str, epoch: str, user_id: str, source: str, stored: StoredEvent
    ) -> None:
        created = session_created(
            session_id, 1, stored.ts, epoch=epoch, user_id=user_id, source=source
        )
        self._hub.session_created(session_id, epoch)
        self._hub.publish(session_id, created)
        self._hub.publish_record(session_id, events.TASK_QUEUED, stored)

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
        places = await self._store.places([task])
        return task_view(task, places.get(task.id))

    async def wait(self, caller: Caller, task_id: str, within: float) -> BrowserTaskView:
        """The task when it has ended, or as it stands after so many seconds.

        Raises OperatorError(task_not_found), also where it is deleted meanwhile.
        """
        worker = self._worker
        if worker is None or within <= 0:
            return await self.get(caller, task_id)
        ended = worker.add_waiter(task_id)
        try:
            async with asyncio.timeout(within):
                while True:
                    task = await self._find(caller, task_id)
                    given_up = worker.closed or (
                        self._drain.draining and task.status == TaskStatus.PENDING
                    )
                    if given_up or task.status not in UNFINISHED:
                        return await self._view(task)
                    await ended.wait()
                    ended.clear()
        except TimeoutError:
            return await self.get(caller, task_id)
        finally:
            worker.remove_waiter(task_id, ended)

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
        page = await self._store.page(
            session_id=session_id,
            user_id=listed_user(caller, user_id, session_id),
            status=None if status is None else str(status),
            before=parse_id_cursor(cursor, MAX_ID),
            limit=limit,
        )
        places = await self._store.places(page.rows)
        return BrowserTaskList(
            [outcomes.listed(row, places.get(row.id)) for row in page.rows],
            id_cursor(page.last.id) if page.last else None,
        )

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
                if await self.reclaimer.end(task, outcomes.cancelled(task)):
                    return await self.get(caller, task_id)
            elif task.status == TaskStatus.RUNNING:
                if await self._store.request_cancel(task_id):
                    if self._worker is not None:
                        self._worker.cancel(task_id)
                    return await self.wait(caller, task_id, CANCEL_WAIT)
            else:
                return await self._view(task)
        return await self.get(caller, task_id)

    # Start and end.

    def start(self) -> None:
        """Begin to run tasks."""
        if self._worker is not None:
            self._worker.start()

    async def drain(self, within: float) -> None:
        """Accept no new task, wait up to so many seconds for those that run, then return them to
        the queue.

        Callers who wait for a task are answered then.
        """
        self._drain.begin()
        if self._worker is None:
            return
        self._worker.drain()
        try:
            async with asyncio.timeout(within):
                await self._worker.runner.idle()
        except TimeoutError:
            log.warning("browser tasks interrupted", tasks=len(self._worker.runner))
        await self.aclose()

    async def aclose(self, within: float = CANCEL_WAIT) -> None:
        """Return running tasks to the queue. Call it before the lease is released."""
        self._drain.begin()
        if self._worker is not None:
            await self._worker.aclose(within)

    async def abandon(self) -> None:
        """End at once, as a process that is killed. Tasks that still run are taken over later."""
        if self._worker is not None:
            await self._worker.abandon()


def _no_screenshot() -> OperatorError:
    return OperatorError(ErrorCode.TASK_NOT_FOUND, "this task has no screenshot")
