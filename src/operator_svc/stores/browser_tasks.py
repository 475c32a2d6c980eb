"""operator_browser_task: pages to be opened, a durable queue, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from operator_svc.db import Database
from operator_svc.models import BrowserTask, Json, Record, Screenshot, TaskStatus

NEWEST = 2**63 - 1
"""An id that stands after every task."""


class Moved(Record, frozen=True):
    """A task whose state was changed.

    ``last_seq`` is the number of the event that says so, None for a task without a session,
    ``data`` what was stored as its data.
    """

    last_seq: int | None
    data: Json
    ts: datetime


class Claimed(BrowserTask, frozen=True):
    """A task that is now run by the pod that claimed it, and the event that says so."""

    last_seq: int | None
    data: Json
    ts: datetime


class State(Record, frozen=True):
    """How a task stands."""

    task_id: str
    status: str
    owner: str | None
    cancel_requested: bool


class Asked(Record, frozen=True):
    """A running task that was asked to stop."""

    task_id: str


class Ahead(Record, frozen=True):
    """How many tasks stand before another."""

    tasks: int


class Waiting(Record, frozen=True):
    """How many tasks wait, and how many of them could be begun now."""

    pending: int
    due: int


class Line(Record, frozen=True):
    """A task in a list: without the large parts of what came of it."""

    id: int
    task_id: str
    session_id: str | None
    user_id: str
    url: str
    status: str
    attempts: int
    error: str | None
    duration_ms: int | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    screenshot_etag: str | None
    http_status: int | None
    title: str | None
    text_snippet: str | None
    final_url: str | None


class Picture(msgspec.Struct, frozen=True):
    """A PNG and its entity tag, without the tag's quotes."""

    data: bytes
    etag: str


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a task ended."""

    status: TaskStatus
    attempts: int
    deaths: int
    result: Json = None
    error: str | None = None
    duration_ms: int | None = None
    picture: Picture | None = None


class BrowserTaskStore:
    """Stores tasks and moves them through their states; each move stores its event.

    ``data`` is the event's data, to which the database adds the time of the move. A move of a
    running task counts only by the pod that claimed it, and only since that claim: the owner
    and the time of the start, as they stand in the record, are the fence.
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

    async def ahead(self, task: BrowserTask) -> int:
        """How many pending tasks will be begun before this one."""
        row = await self._db.fetch_one(
            "browser_task_ahead", Ahead, not_before=task.not_before, id=task.id
        )
        return row.tasks if row else 0

    async def waiting(self, most: int) -> Waiting:
        """How many tasks wait; no more than ``most`` are counted."""
        row = await self._db.fetch_one("browser_tasks_waiting", Waiting, most=most)
        return row or Waiting(0, 0)

    async def states(self, task_ids: Sequence[str]) -> list[State]:
        """How these tasks stand; those that are gone are not among them."""
        return await self._db.fetch("browser_tasks_states", State, task_ids=list(task_ids))

    async def unowned(self, pod_id: str) -> list[BrowserTask]:
        """Tasks that are run by pods without a lease, and those of ``pod_id`` itself."""
        return await self._db.fetch("browser_tasks_unowned", BrowserTask, pod_id=pod_id)

    async def page(
        self,
        *,
        session_id: str | None,
        user_id: str | None,
        status: str | None,
        before: int = NEWEST,
        limit: int,
    ) -> list[Line]:
        """Tasks older than the one with the id ``before``, newest first."""
        place: dict[str, Any] = {"before": before, "page": limit}
        name = "browser_tasks_page"
        if session_id is not None:
            name = "browser_tasks_page_of_session"
            place |= {"session_id": session_id, "user_id": user_id, "status": status}
        elif user_id is not None:
            name = "browser_tasks_page_of_user"
            place |= {"user_id": user_id, "status": status}
        elif status is not None:
            name = "browser_tasks_page_of_status"
            place["status"] = status
        return await self._db.fetch(name, Line, **place)

    # Moving.

    async def add(
        self,
        *,
        task_id: str,
        session_id: str | None,
        viewer: str | None,
        user_id: str,
        url: str,
        options: Json,
        data: Json,
    ) -> Moved | None:
        """Store a task, in a session or in none; None where there is no such session.

        In a session it is its user's, else that of ``user_id``.
        """
        rows = await self._db.write(
            "browser_task_add",
            Moved,
            task_id=task_id,
            session_id=session_id,
            viewer=viewer,
            user_id=user_id,
            url=url,
            options=options,
            data=data,
        )
        return rows[0] if rows else None

    async def add_new(
        self,
        *,
        task_id: str,
        session_id: str,
        epoch: str,
        user_id: str,
        source: str,
        url: str,
        options: Json,
        data: Json,
    ) -> Moved | None:
        """As ``add``, in a new session; None where there is one of this id already."""
        rows = await self._db.write(
            "browser_task_add_new",
            Moved,
            task_id=task_id,
            session_id=session_id,
            epoch=epoch,
            user_id=user_id,
            source=source,
            url=url,
            options=options,
            data=data,
        )
        return rows[0] if rows else None

    async def claim(self, pod_id: str) -> Claimed | None:
        """Make the first task that is due this pod's.

        None where there is none, or (on PostgreSQL) where its session is being written to in
        this moment.
        """
        rows = await self._db.write("browser_task_claim", Claimed, pod_id=pod_id)
        return rows[0] if rows else None

    async def release(
        self, task: BrowserTask, *, attempts: int, deaths: int, delay: float, data: Json
    ) -> Moved | None:
        """Let a running task wait again, for ``delay`` seconds at least; with 0 it has its old
        place. None where ``task.owner`` does not run it any more, or it was asked to stop."""
        rows = await self._db.write(
            "browser_task_release",
            Moved,
            task_id=task.task_id,
            session_id=task.session_id,
            owner=task.owner,
            started_at=task.started_at,
            attempts=attempts,
            deaths=deaths,
            delay=float(delay),
            data=data,
        )
        return rows[0] if rows else None

    async def end(self, task: BrowserTask, ending: Ending, data: Json) -> Moved | None:
        """Store how a task ended; None where it ended otherwise, or ``task.owner`` (None: nobody)
        does not run it."""
        rows = await self._db.write(
            "browser_task_end",
            Moved,
            task_id=task.task_id,
            session_id=task.session_id,
            owner=task.owner,
            started_at=task.started_at,
            status=str(ending.status),
            event=last_event(ending.status),
            attempts=ending.attempts,
            deaths=ending.deaths,
            result=ending.result,
            error=ending.error,
            duration_ms=ending.duration_ms,
            screenshot=ending.picture.data if ending.picture else None,
            screenshot_etag=ending.picture.etag if ending.picture else None,
            data=data,
        )
        return rows[0] if rows else None

    async def request_cancel(self, task_id: str) -> bool:
        """Ask whoever runs a task to stop; False where it does not run."""
        rows = await self._db.write("browser_task_request_cancel", Asked, task_id=task_id)
        return bool(rows)

    async def purge_screenshots(self, days: float, limit: int) -> int:
        """Delete up to ``limit`` pictures of tasks that ended ``days`` ago; how many went."""
        return len(
            await self._db.write("browser_screenshots_purge", Asked, days=float(days), page=limit)
        )


def last_event(status: TaskStatus) -> str:
    """The name of the event that says that a task ended so (api.md, browser service)."""
    if status in (TaskStatus.COMPLETED, TaskStatus.CANCELLED):
        return f"browser_task.{status}"
    return "browser_task.failed"
