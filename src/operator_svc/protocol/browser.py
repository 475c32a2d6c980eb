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
    """The address of the page."""
    session_id: SessionId | None = None
    """The session that the task belongs to."""
    user_id: UserId | None = None
    """The user that it belongs to."""
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] | None = None
    """Seconds that the call waits for the task's end; 30 if not given."""
    timeout_ms: TimeoutMs | None = None
    """Milliseconds that the page may take."""
    wait_until: WaitUntil | None = None
    """The state of loading at which the page counts as there."""
    full_page: bool | None = None
    """True for a screenshot of the whole page instead of the window."""
    viewport: Viewport | None = None
    """The window's size."""
    script: Script | None = None
    """A JavaScript expression, evaluated in the page."""
    text_limit: TextLimit | None = None
    """Code points of the page's text that are kept."""


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
    """The outcome of the page."""
    url: str
    """The address that was asked for."""
    title: str
    """The page's title."""
    text_snippet: str
    """The beginning of the text."""
    screenshot_path: str | None
    """The path of the screenshot."""
    error: str | None
    """The reason of a failure."""
    timestamp: datetime | None
    """The time at which the task ended."""
    duration_ms: int | None
    """Milliseconds that the page took."""
    final_url: str
    """The address after all redirects."""
    http_status: int | None
    """The HTTP status of the page."""
    text: str
    """The page's text."""
    links: list[Any]
    """The page's links, each with its address and text."""
    console: list[Any]
    """Lines that the page wrote to its console."""
    script_result: Any
    """The value of the script."""


class BrowserTaskView(msgspec.Struct, frozen=True):
    """A browser task. ``result`` is null until it has ended, and where it was cancelled;
    ``position`` is its place among its user's waiting tasks, 1 being the next; users take turns.

    The flat fields after ``result`` repeat what is in it, for older clients.
    """

    task_id: str
    """The task's id."""
    status: BrowserTaskStatus
    """The task's state."""
    url: str
    """The address of the page."""
    session_id: str | None
    """The session that the task belongs to."""
    result: TaskResult | None
    """The result of the page."""
    screenshot_path: str | None
    """The path of the screenshot."""
    text_snippet: str | None
    """The beginning of the page's text."""
    error_message: str | None
    """The reason of a failure."""
    created_at: datetime
    """The time at which it was stored."""
    completed_at: datetime | None
    """The time at which it ended."""
    started_at: datetime | None
    """The time at which it was last begun."""
    user_id: str
    """The user that it belongs to."""
    attempts: int
    """Times that it was begun."""
    position: int | None
    """Its place among its user's waiting tasks, 1 being the next."""


class BrowserTaskFact(msgspec.Struct, frozen=True):
    """A task without its large parts: the data of its events (with times as text)."""

    task_id: str
    """The task's id."""
    session_id: str | None
    """The session that the task belongs to."""
    url: str
    """The address of the page."""
    status: BrowserTaskStatus
    """The task's state."""
    attempts: int = 0
    """Times that it was begun."""
    title: str | None = None
    """The page's title."""
    text_snippet: str | None = None
    """The beginning of the page's text."""
    final_url: str | None = None
    """The address after all redirects."""
    http_status: int | None = None
    """The HTTP status of the page."""
    screenshot_path: str | None = None
    """The path of the screenshot."""
    error: str | None = None
    """The reason of a failure."""
    duration_ms: int | None = None
    """Milliseconds that the page took."""
    created_at: datetime | None = None
    """The time at which it was stored."""
    started_at: datetime | None = None
    """The time at which it was last begun."""
    completed_at: datetime | None = None
    """The time at which it ended."""


class BrowserTaskItem(BrowserTaskFact, frozen=True):
    """A task in a list: what its events say of it, and its place in the queue."""

    position: int | None = None
    """Its place among its user's waiting tasks, 1 being the next; null where it does not wait."""


class BrowserTaskList(msgspec.Struct, frozen=True):
    """A page of tasks, newest first; ``next_cursor`` asks for the next one, null at the end."""

    tasks: list[BrowserTaskItem]
    """The tasks, newest first."""
    next_cursor: str | None
    """The ``cursor`` that asks for the next page; null at the end."""


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
