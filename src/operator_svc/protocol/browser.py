"""Browser tasks as clients ask for them, and as they are shown: answers, lists and events."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from operator_svc.errors import OperatorError
from operator_svc.models import BrowserTask
from operator_svc.protocol.bodies import SessionId, UserId

TASK_PATH = "/operator/browser/task/"
DEFAULT_WAIT = 30.0
MAX_WAIT = 120.0
"""Seconds that a caller may wait for a task's end (api.md, browser service)."""
DEFAULT_TIMEOUT_MS = 30_000
"""The browser service's own, where a task does not say how long its page may take."""
SNIPPET_CHARS = 500

_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)")


class Viewport(msgspec.Struct, frozen=True):
    """The window's size in CSS pixels."""

    width: Annotated[int, Meta(ge=16, le=3840)] = 1280
    height: Annotated[int, Meta(ge=16, le=2160)] = 720


class BrowserTaskBody(msgspec.Struct, frozen=True):
    """The body of ``POST /operator/browser/task``: where it belongs, how long the caller waits,
    and the page's fields as the browser service takes them."""

    url: Annotated[str, Meta(min_length=1, max_length=8192)]
    session_id: SessionId | None = None
    user_id: UserId | None = None
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=120_000)] | None = None
    wait_until: Literal["commit", "domcontentloaded", "load", "networkidle"] | None = None
    full_page: bool | None = None
    viewport: Viewport | None = None
    script: Annotated[str, Meta(max_length=64 * 1024)] | None = None
    text_limit: Annotated[int, Meta(ge=0, le=200_000)] | None = None


PAGE_FIELDS = ("timeout_ms", "wait_until", "full_page", "viewport", "script", "text_limit")


class BrowserTaskRequest(msgspec.Struct, frozen=True):
    """A task to be stored. ``options`` are the page's fields that were given."""

    url: str
    options: dict[str, Any]
    session_id: str | None = None
    user_id: str | None = None
    source: str = "api"


def task_of(body: BrowserTaskBody, *, source: str = "api") -> BrowserTaskRequest:
    """The task that a body asks for; raises OperatorError(validation_error).

    Only what can't be read as an address is refused: one that may not be opened is a task that
    ends as ``blocked``.
    """
    url = body.url.strip(" \t\r\n")
    if (problem := url_problem(url)) is not None:
        raise OperatorError.invalid("url", problem)
    given = {name: getattr(body, name) for name in PAGE_FIELDS}
    options = {
        name: msgspec.to_builtins(value) for name, value in given.items() if value is not None
    }
    return BrowserTaskRequest(url, options, body.session_id, body.user_id, source)


def url_problem(url: str) -> str | None:
    """Why ``url`` is none, by the browser service's own rule."""
    if _CONTROL.search(url):
        return "must not contain spaces or control characters"
    match = _SCHEME.fullmatch(url)
    if match is None:
        return "must be a whole address, like https://example.org/"
    if match.group(1).lower() in ("http", "https") and not match.group(2).strip("/\\"):
        return "has no host"
    return None


class TaskResult(msgspec.Struct, frozen=True):
    """What came of a page. ``status`` is the page's: ok, timeout, error or blocked; ``timestamp``
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
    ``position`` is its place in the queue while it waits, 1 being the next.

    The flat fields after ``result`` repeat what is in it, for older clients.
    """

    task_id: str
    status: str
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
    status: str
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
    """Where a task's picture is to be had; None where there is none."""
    return None if etag is None else f"{TASK_PATH}{task_id}/screenshot"


def task_view(task: BrowserTask, position: int | None = None) -> BrowserTaskView:
    """A task as clients see it."""
    path = screenshot_path(task.task_id, task.screenshot_etag)
    result = _result(task, path) if task.completed_at is not None else None
    return BrowserTaskView(
        task_id=task.task_id,
        status=task.status,
        url=task.url,
        session_id=task.session_id,
        result=result,
        screenshot_path=path,
        text_snippet=result.text_snippet if result else None,
        error_message=task.error,
        created_at=task.created_at,
        completed_at=task.completed_at,
        started_at=task.started_at,
        user_id=task.user_id,
        attempts=task.attempts,
        position=position,
    )


def _result(task: BrowserTask, path: str | None) -> TaskResult | None:
    """Rows that were brought in from an old database may lack any of it."""
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
