"""Rows that the queries of browser tasks give back, and the parts that their writes take."""

from __future__ import annotations

from datetime import datetime

import msgspec

from operator_svc.models import BrowserTask, Json, Record, TaskStatus


class ClaimedTask(BrowserTask, frozen=True):
    """A task that is now run by the pod that claimed it, and the event that says so."""

    seq: int | None
    data: Json
    ts: datetime


class TaskState(Record, frozen=True):
    """The state of a task, and a request to stop it."""

    task_id: str
    status: str
    owner: str | None
    cancel_requested: bool


class TaskId(Record, frozen=True):
    """A task that a write has changed."""

    task_id: str


class TaskPlace(Record, frozen=True):
    """The place of a waiting task among those of its user, 1 being the next."""

    id: int
    place: int


class QueueLength(Record, frozen=True):
    """The number of waiting tasks, and of those among them that are due."""

    pending: int
    due: int


class TaskSummary(Record, frozen=True):
    """A task in a list: without the large parts of its result."""

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


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task to be stored. ``user_id`` counts where it has no session, or a new one."""

    task_id: str
    session_id: str | None
    user_id: str
    url: str
    options: Json


class Picture(msgspec.Struct, frozen=True):
    """A PNG and its entity tag, without the tag's quotes."""

    data: bytes
    etag: str


class TaskOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a task."""

    status: TaskStatus
    attempts: int
    deaths: int
    result: Json = None
    error: str | None = None
    duration_ms: int | None = None
    picture: Picture | None = None
