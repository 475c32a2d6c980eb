"""operator_browser_task: a durable queue of pages to be opened, and their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from operator_svc.db import Database
from operator_svc.models import MAX_ID, BrowserTask, Json, Screenshot, TaskStatus
from operator_svc.protocol import events
from operator_svc.protocol.browser import BrowserTaskFact, screenshot_path
from operator_svc.protocol.event_data import data_of_record
from operator_svc.stores.browser_task_rows import (
    ClaimedTask,
    NewTask,
    QueueLength,
    TaskId,
    TaskOutcome,
    TaskPlace,
    TaskState,
    TaskSummary,
)
from operator_svc.stores.epochs import epoch_in
from operator_svc.stores.events import StoredEvent
from operator_svc.stores.pages import Page, fetch_page
from operator_svc.stores.sessions import refuse_id_in_deletion
from operator_svc.stores.writes import write_one


class BrowserTaskStore:
    """Stores tasks and moves them through their states; each move stores its event.

    A move of a running task counts only by the pod that claimed it, and only since that claim:
    the owner and the time of the start, as they stand in the record, are the fence.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    # Reading.

    async def get(self, task_id: str, viewer: str | None = None) -> BrowserTask | None:
        """The task, or None where there is none that ``viewer`` may see (None sees all)."""
        return await self._db.fetch_one(
            "browser_task_get", BrowserTask, task_id=task_id, viewer=viewer
        )

    async def screenshot(self, task_id: str) -> Screenshot | None:
        """The task's picture, where it has one."""
        return await self._db.fetch_one("browser_task_screenshot", Screenshot, task_id=task_id)

    async def places(self, tasks: Sequence[BrowserTask | TaskSummary]) -> dict[int, int]:
        """The places of those of ``tasks`` that wait among all that wait of their users, by id;
        1 is the next."""
        waiting = [task for task in tasks if task.status == TaskStatus.PENDING]
        if not waiting:
            return {}
        rows = await self._db.fetch(
            "browser_tasks_places",
            TaskPlace,
            user_ids=sorted({task.user_id for task in waiting}),
            ids=[task.id for task in waiting],
        )
        return {row.id: row.place for row in rows}

    async def waiting(self, most: int) -> QueueLength:
        """The number of waiting tasks; no more than ``most`` are counted."""
        row = await self._db.fetch_one("browser_tasks_waiting", QueueLength, most=most)
        return row or QueueLength(0, 0)

    async def states(self, task_ids: Sequence[str]) -> list[TaskState]:
        """The states of these tasks; deleted ones are not among them."""
        return await self._db.fetch("browser_tasks_states", TaskState, task_ids=list(task_ids))

    async def unowned(self, pod_id: str) -> list[BrowserTask]:
        """Tasks that are run by pods without a lease, and those of ``pod_id`` itself."""
        return await self._db.fetch("browser_tasks_unowned", BrowserTask, pod_id=pod_id)

    async def page(
        self,
        *,
        session_id: str | None,
        user_id: str | None,
        status: str | None,
        before: int = MAX_ID,
        limit: int,
    ) -> Page[TaskSummary]:
        """Tasks older than the one with the id ``before``, newest first."""
        place: dict[str, Any] = {"before": before}
        name = "browser_tasks_page"
        if session_id is not None:
            name = "browser_tasks_page_of_session"
            place |= {"session_id": session_id, "user_id": user_id, "status": status}
        elif user_id is not None and status is not None:
            name = "browser_tasks_page_of_user_and_status"
            place |= {"user_id": user_id, "status": status}
        elif user_id is not None:
            name = "browser_tasks_page_of_user"
            place["user_id"] = user_id
        elif status is not None:
            name = "browser_tasks_page_of_status"
            place["status"] = status
        return await fetch_page(self._db, name, TaskSummary, limit=limit, **place)

    # Moving.

    async def add(self, new: NewTask, viewer: str | None) -> StoredEvent | None:
        """Store a task, in a session or in none; None where there is no such session that
        ``viewer`` may see. In a session it is its user's."""
        return await write_one(
            self._db,
            "browser_task_add",
            StoredEvent,
            viewer=viewer,
            data=_data_of_new(new),
            **msgspec.structs.asdict(new),
        )

    async def add_new(self, new: NewTask, epoch: str, source: str) -> StoredEvent | None:
        """Store a task in a new session; None where there is one of this id already.

        Raises OperatorError(conflict) while one of this id is being deleted.
        """
        assert new.session_id is not None
        stored = await write_one(
            self._db,
            "browser_task_add_new",
            StoredEvent,
            epoch=epoch,
            source=source,
            created=events.session_created(new.session_id, new.user_id, source),
            data=_data_of_new(new),
            **msgspec.structs.asdict(new),
        )
        if stored is None and new.session_id is not None:
            await refuse_id_in_deletion(self._db, new.session_id)
        return stored

    def epoch_in(self, stored: str) -> str:
        """The epoch of a session made with this one, as clients know it."""
        return epoch_in(self._db, stored)

    async def claim(
        self, pod_id: str, *, after: str = "", passed_over: Sequence[str] = ()
    ) -> ClaimedTask | None:
        """Make the first due task of a user this pod's: of the next one by name after ``after``
        that has one and is none of ``passed_over``.

        None where there is none, or (on PostgreSQL) where its session is being written to in
        this moment.
        """
        # Which task it is, and so the rest of its data, is known to the write alone.
        data = data_of_record(BrowserTaskFact, {"status": TaskStatus.RUNNING})
        return await write_one(
            self._db,
            "browser_task_claim",
            ClaimedTask,
            pod_id=pod_id,
            after=after,
            passed_over=list(passed_over),
            data=data,
        )

    async def release(
        self, task: BrowserTask, *, attempts: int, deaths: int, delay: float
    ) -> StoredEvent | None:
        """Let a running task wait again, for ``delay`` seconds at least; with 0 it has its old
        place. None where ``task.owner`` does not run it any more, or it was asked to stop."""
        changes = {"status": TaskStatus.PENDING, "attempts": attempts, "started_at": None}
        return await write_one(
            self._db,
            "browser_task_release",
            StoredEvent,
            deaths=deaths,
            delay=float(delay),
            attempts=attempts,
            data=data_of_record(BrowserTaskFact, msgspec.structs.asdict(task) | changes),
            **_fence(task),
        )

    async def end(self, task: BrowserTask, outcome: TaskOutcome) -> StoredEvent | None:
        """Store a task's end; None where it ended otherwise, or ``task.owner`` (None: nobody) does
        not run it."""
        picture = outcome.picture
        ended = {name: getattr(outcome, name) for name in ("attempts", "error", "duration_ms")}
        page = outcome.result or {}
        seen = {
            **{name: page.get(name) for name in _OF_PAGE},
            "screenshot_path": screenshot_path(task.task_id, picture.etag if picture else None),
        }
        facts = msgspec.structs.asdict(task) | ended | seen | {"status": outcome.status}
        return await write_one(
            self._db,
            "browser_task_end",
            StoredEvent,
            status=str(outcome.status),
            event=last_event(outcome.status),
            deaths=outcome.deaths,
            result=outcome.result,
            screenshot=picture.data if picture else None,
            screenshot_etag=picture.etag if picture else None,
            data=data_of_record(BrowserTaskFact, facts),
            **ended,
            **_fence(task),
        )

    async def request_cancel(self, task_id: str) -> bool:
        """Ask the pod that runs a task to stop it; False where it does not run."""
        rows = await self._db.write("browser_task_request_cancel", TaskId, task_id=task_id)
        return bool(rows)

    async def purge_screenshots(self, days: float, limit: int) -> int:
        """Delete up to ``limit`` pictures of tasks that ended ``days`` ago; returns how many."""
        return len(
            await self._db.write("browser_screenshots_purge", TaskId, days=float(days), page=limit)
        )


_OF_PAGE = ("title", "text_snippet", "final_url", "http_status")
"""The part of a page's result that lists and events show."""


def _data_of_new(new: NewTask) -> Json:
    facts = msgspec.structs.asdict(new) | {"status": TaskStatus.PENDING, "attempts": 0}
    return data_of_record(BrowserTaskFact, facts)


def _fence(task: BrowserTask) -> dict[str, Any]:
    """The task as the caller knows it; a write finds no other."""
    names = ("task_id", "session_id", "owner", "started_at")
    return {name: getattr(task, name) for name in names}


_LAST_EVENTS = {
    TaskStatus.COMPLETED: events.TASK_COMPLETED,
    TaskStatus.CANCELLED: events.TASK_CANCELLED,
}


def last_event(status: TaskStatus) -> str:
    """The name of the event that says that a task ended so (api.md, browser service)."""
    return _LAST_EVENTS.get(status, events.TASK_FAILED)
