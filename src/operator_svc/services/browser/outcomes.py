"""How browser tasks end, and what their events say; nothing here is awaited."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import BrowserTask, Json, TaskStatus
from operator_svc.peers.transport import PeerRefusedError
from operator_svc.protocol.browser import SNIPPET_CHARS, BrowserTaskFact, screenshot_path
from operator_svc.protocol.navigate import Visit
from operator_svc.services.live.feed import LiveEvent
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.browser_tasks import NEWEST, Claimed, Ending, Line, Moved, Picture

STATUSES = {
    "ok": TaskStatus.COMPLETED,
    "timeout": TaskStatus.TIMEOUT,
    "error": TaskStatus.FAILED,
    "blocked": TaskStatus.BLOCKED,
}
"""What a page's status makes of its task."""


def of_visit(task: BrowserTask, visit: Visit) -> Ending:
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
    return Ending(
        status=STATUSES[visit.status],
        attempts=task.attempts,
        deaths=task.deaths,
        result=result,
        error=visit.error,
        duration_ms=visit.duration_ms,
        picture=picture,
    )


def of_failure(task: BrowserTask, error: OperatorError) -> Ending:
    """The end of a task that the browser service did not take, or answered with nonsense."""
    if isinstance(error, PeerRefusedError) and error.status == 422:
        # The address passed our rule and the service's: Chromium itself can't read it.
        return failed(task, "the address is none that Chromium understands")
    return failed(task, str(error.code))


def failed(
    task: BrowserTask, error: str, *, attempts: int | None = None, deaths: int | None = None
) -> Ending:
    """The end of a task of whose page nothing is known; ``error`` is a code or a sentence."""
    return Ending(
        status=TaskStatus.FAILED,
        attempts=task.attempts if attempts is None else attempts,
        deaths=task.deaths if deaths is None else deaths,
        error=error,
    )


def unavailable(task: BrowserTask, attempts: int, deaths: int) -> Ending:
    """The end of a task for which there was no browser at any of its tries."""
    return failed(task, str(ErrorCode.BROWSER_UNAVAILABLE), attempts=attempts, deaths=deaths)


def cancelled(task: BrowserTask) -> Ending:
    """The end of a task that somebody stopped."""
    return Ending(status=TaskStatus.CANCELLED, attempts=task.attempts, deaths=task.deaths)


# Events.


def of_new(task_id: str, session_id: str | None, url: str) -> dict[str, Any]:
    """The data of a new task's first event."""
    return _plain(BrowserTaskFact(task_id, session_id, url, str(TaskStatus.PENDING)))


def of_pending(task: BrowserTask, attempts: int) -> dict[str, Any]:
    """The data of the event that a task waits again."""
    return _plain(
        BrowserTaskFact(
            task_id=task.task_id,
            session_id=task.session_id,
            url=task.url,
            status=str(TaskStatus.PENDING),
            attempts=attempts,
            created_at=task.created_at,
        )
    )


def of_ending(task: BrowserTask, ending: Ending) -> dict[str, Any]:
    """The data of a task's last event."""
    seen: dict[str, Json] = ending.result or {}
    return _plain(
        BrowserTaskFact(
            task_id=task.task_id,
            session_id=task.session_id,
            url=task.url,
            status=str(ending.status),
            attempts=ending.attempts,
            title=seen.get("title"),
            text_snippet=seen.get("text_snippet"),
            final_url=seen.get("final_url"),
            http_status=seen.get("http_status"),
            screenshot_path=screenshot_path(
                task.task_id, ending.picture.etag if ending.picture else None
            ),
            error=ending.error,
            duration_ms=ending.duration_ms,
            created_at=task.created_at,
            started_at=task.started_at,
        )
    )


def _plain(fact: BrowserTaskFact) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(fact)
    return plain


def show(hub: SessionHub, session_id: str | None, moved: Moved | Claimed, event: str) -> None:
    """Show an event that was committed, with the data that was stored; none without a session."""
    if session_id is not None and moved.last_seq is not None:
        made = LiveEvent.make(session_id, moved.last_seq, event, moved.ts, moved.data)
        hub.publish(session_id, made)


# Lists.


def of_line(row: Line) -> BrowserTaskFact:
    """A task as lists show it."""
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


def cursor(row: Line) -> str:
    """What asks for the tasks after this one."""
    return base64.urlsafe_b64encode(str(row.id).encode()).decode().rstrip("=")


def place(cursor: str) -> int:
    """The id that a cursor stands for; raises OperatorError(invalid_parameter)."""
    try:
        row_id = int(base64.urlsafe_b64decode((cursor + "=" * (-len(cursor) % 4)).encode()))
    except (ValueError, binascii.Error):
        row_id = -1
    if not 0 <= row_id <= NEWEST:
        raise OperatorError(ErrorCode.INVALID_PARAMETER, "cursor: it is not one of ours")
    return row_id
