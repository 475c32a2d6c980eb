"""Browser tasks as clients ask for them, and as they are shown: answers, lists and events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from operator_svc.models import BrowserTask
from operator_svc.protocol.closed_sets import BrowserTaskStatus
from operator_svc.protocol.ids import SessionId, UserId
from operator_svc.protocol.navigate import (
    PAGE_FIELDS,
    Script,
    TextLimit,
    TimeoutMs,
    Url,
    Viewport,
    WaitUntil,
    checked_url,
)
from operator_svc.protocol.views import view_of

TASK_PATH = "/operator/browser/task/"
DEFAULT_WAIT = 30.0
MAX_WAIT = 120.0
"""Seconds that a caller may wait for a task's end (api.md, browser service)."""
SNIPPET_CHARS = 500


class BrowserTaskBody(msgspec.Struct, frozen=True):
    """The body of ``POST /operator/browser/task``: where it belongs, how long the caller waits,
    and the page's fields as the browser service takes them."""

    url: Url
    session_id: SessionId | None = None
    user_id: UserId | None = None
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] | None = None
    timeout_ms: TimeoutMs | None = None
    wait_until: WaitUntil | None = None
    full_page: bool | None = None
    viewport: Viewport | None = None
    script: Script | None = None
    text_limit: TextLimit | None = None


class BrowserTaskRequest(msgspec.Struct, frozen=True):
    """A task to be stored. ``options`` are the page's fields that were given."""

    url: str
    options: dict[str, Any]
    session_id: str | None = None
    user_id: str | None = None
    source: str = "api"


def task_of(body: BrowserTaskBody, *, source: str = "api") -> BrowserTaskRequest:
    """The task that a body asks for; raises OperatorError(validation_error)."""
    given = {name: getattr(body, name) for name in PAGE_FIELDS}
    options = {
        name: msgspec.to_builtins(value) for name, value in given.items() if value is not None
    }
    return BrowserTaskRequest(checked_url(body.url), options, body.session_id, body.user_id, source)


class TaskResult(msgspec.Struct, frozen=True):
    """The result of a page. ``status`` is the page's: ok, timeout, error or blocked; ``timestamp``
    is the task's end; ``text_snippet`` the beginning of ``text``."""

    status: str
    url: str
    title: str
    text_snippet: str
    screenshot_path: str | None
    error: str | None
    timestamp: datetime | None
    duration_ms: int | None
    final_url: str
    http_status: int | None
    text: str
    links: list[Any]
    console: list[Any]
    script_result: Any


class BrowserTaskView(msgspec.Struct, frozen=True):
    """A browser task. ``result`` is null until it has ended, and where it was cancelled;
    ``position`` is its place among its user's waiting tasks, 1 being the next; users take turns.

    The flat fields after ``result`` repeat what is in it, for older clients.
    """

    task_id: str
    status: BrowserTaskStatus
    url: str
    session_id: str | None
    result: TaskResult | None
    screenshot_path: str | None
    text_snippet: str | None
    error_message: str | None
    created_at: datetime
    completed_at: datetime | None
    started_at: datetime | None
    user_id: str
    attempts: int
    position: int | None


class BrowserTaskFact(msgspec.Struct, frozen=True):
    """A task without its large parts: in lists, and (times as text) the data of its events."""

    task_id: str
    session_id: str | None
    url: str
    status: BrowserTaskStatus
    attempts: int = 0
    title: str | None = None
    text_snippet: str | None = None
    final_url: str | None = None
    http_status: int | None = None
    screenshot_path: str | None = None
    error: str | None = None
    duration_ms: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


class BrowserTaskList(msgspec.Struct, frozen=True):
    """A page of tasks, newest first; ``next_cursor`` asks for the next one, null at the end."""

    tasks: list[BrowserTaskFact]
    next_cursor: str | None


def screenshot_path(task_id: str, etag: str | None) -> str | None:
    """The path of a task's screenshot; None where there is none."""
    return None if etag is None else f"{TASK_PATH}{task_id}/screenshot"


def task_view(task: BrowserTask, position: int | None = None) -> BrowserTaskView:
    """A task as clients see it."""
    path = screenshot_path(task.task_id, task.screenshot_etag)
    result = _result(task, path) if task.completed_at is not None else None
    return view_of(
        BrowserTaskView,
        task,
        result=result,
        screenshot_path=path,
        text_snippet=result.text_snippet if result else None,
        error_message=task.error,
        position=position,
    )


def _result(task: BrowserTask, path: str | None) -> TaskResult | None:
    """Rows that were brought in from a legacy database may lack any of it."""
    if task.status == "cancelled":
        return None
    seen = task.result if isinstance(task.result, dict) else {}
    return TaskResult(
        status=seen.get("status") or ("ok" if task.status == "completed" else "error"),
        url=task.url,
        title=seen.get("title") or "",
        text_snippet=seen.get("text_snippet") or "",
        screenshot_path=path,
        error=task.error,
        timestamp=task.completed_at,
        duration_ms=task.duration_ms,
        final_url=seen.get("final_url") or task.url,
        http_status=seen.get("http_status"),
        text=seen.get("text") or "",
        links=seen.get("links") or [],
        console=seen.get("console") or [],
        script_result=seen.get("script_result"),
    )
