"""Outcomes of browser tasks, and tasks as lists show them: pure functions."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import BrowserTask, TaskStatus
from operator_svc.peers.failures import PeerRefusedError
from operator_svc.protocol.browser import SNIPPET_CHARS, BrowserTaskItem, screenshot_path
from operator_svc.protocol.navigate import Visit
from operator_svc.stores.browser_task_rows import Picture, TaskOutcome, TaskSummary

STATUSES = {
    "ok": TaskStatus.COMPLETED,
    "timeout": TaskStatus.TIMEOUT,
    "error": TaskStatus.FAILED,
    "blocked": TaskStatus.BLOCKED,
}
"""The status of a task by the status of its page."""


def of_visit(task: BrowserTask, visit: Visit) -> TaskOutcome:
    """The end of a task whose page was opened, or could not be by its own fault."""
    picture = None
    if visit.screenshot is not None:
        picture = Picture(visit.screenshot, hashlib.sha256(visit.screenshot).hexdigest()[:32])
    result = {
        "status": visit.status,
        "final_url": visit.final_url,
        "http_status": visit.http_status,
        "title": visit.title,
        "text_snippet": visit.text[:SNIPPET_CHARS],
        "text": visit.text,
        "links": msgspec.to_builtins(visit.links),
        "console": visit.console,
        "script_result": visit.script_result,
    }
    return TaskOutcome(
        status=STATUSES[visit.status],
        attempts=task.attempts,
        deaths=task.deaths,
        result=result,
        error=visit.error,
        duration_ms=visit.duration_ms,
        picture=picture,
    )


def of_failure(task: BrowserTask, error: OperatorError) -> TaskOutcome:
    """The end of a task that the browser service did not take, or answered with nonsense."""
    if isinstance(error, PeerRefusedError) and error.status == 422:
        # The address passed our rule and the service's: Chromium itself cannot read it.
        return failed(task, "the address is none that Chromium understands")
    return failed(task, str(error.code))


def failed(
    task: BrowserTask, error: str, *, attempts: int | None = None, deaths: int | None = None
) -> TaskOutcome:
    """The end of a task of whose page nothing is known; ``error`` is a code or a sentence."""
    return TaskOutcome(
        status=TaskStatus.FAILED,
        attempts=task.attempts if attempts is None else attempts,
        deaths=task.deaths if deaths is None else deaths,
        error=error,
    )


def unavailable(task: BrowserTask, attempts: int, deaths: int) -> TaskOutcome:
    """The end of a task for which there was no browser at any of its tries."""
    return failed(task, str(ErrorCode.BROWSER_UNAVAILABLE), attempts=attempts, deaths=deaths)


def cancelled(task: BrowserTask) -> TaskOutcome:
    """The end of a task that somebody stopped."""
    return TaskOutcome(status=TaskStatus.CANCELLED, attempts=task.attempts, deaths=task.deaths)


def listed(row: TaskSummary, position: int | None) -> BrowserTaskItem:
    """A task as lists show it."""
    shown: dict[str, Any] = {
        name: getattr(row, name, None) for name in BrowserTaskItem.__struct_fields__
    }
    shown["screenshot_path"] = screenshot_path(row.task_id, row.screenshot_etag)
    shown["position"] = position
    return BrowserTaskItem(**shown)
