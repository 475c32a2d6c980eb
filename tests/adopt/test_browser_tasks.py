"""Legacy browser tasks become browser tasks, on both engines."""

from __future__ import annotations

import datetime as dt

from operator_svc.models import (
    BrowserTask,
)
from tests.adopt.conftest import AT_NOON, NOON, LegacyFile, Target

TASKS = [
    ("pending", "failed", "adopted"),
    ("running", "failed", "adopted"),
    ("done", "completed", None),
    ("completed", "completed", None),
    ("error", "failed", None),
    ("Timeout", "timeout", None),
    ("canceled", "cancelled", None),
    ("strange", "failed", "its old status was strange"),
    (None, "failed", "its old status was missing"),
]


async def test_status_of_a_task_becomes_a_known_one(legacy: LegacyFile, target: Target) -> None:
    legacy.session("abc")
    for status, _, _ in TASKS:
        legacy.add("browser_task", {"session_id": "abc", "url": "http://x/", "status": status,
                                 "created_at": NOON})  # fmt: skip
    await target.adopt(legacy)
    tasks = await target.rows(BrowserTask)
    assert [(task.status, task.error) for task in tasks] == [(new, why) for _, new, why in TASKS]
    assert all(task.completed_at is not None and task.owner is None for task in tasks)


async def test_task_columns_of_later_legacy_code_are_read_too(
    untyped: LegacyFile, target: Target
) -> None:
    untyped.session("abc", id=1)
    untyped.add(
        "browser_task",
        {"id": "0b1c2d3e-0000-4000-8000-000000000000", "session_id": "abc", "url": "http://x/",
         "status": "error", "error_message": "no route", "screenshot_path": "/shots/1.png",
         "text_snippet": "some words", "created_at": NOON, "completed_at": "2025-12-14 12:01:00"},
        {"id": "an id with spaces", "session_id": None, "url": "http://y/", "status": "done",
         "created_at": NOON},
    )  # fmt: skip
    await target.adopt(untyped)
    second, first = sorted(await target.rows(BrowserTask), key=lambda task: task.url, reverse=True)
    assert first.task_id == "0b1c2d3e-0000-4000-8000-000000000000"
    assert (first.status, first.error) == ("failed", "no route")
    assert first.result == {
        "text_snippet": "some words", "adopted_snapshot_path": "/shots/1.png"
    }  # fmt: skip
    assert first.completed_at == AT_NOON + dt.timedelta(minutes=1)
    assert second.task_id.startswith("an-id-with-spaces-")
    assert second.session_id is None
    assert second.user_id == "local"


async def test_result_fields_of_another_type_are_kept_under_another_name(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.session("abc")
    legacy.add("browser_task", {
        "session_id": "abc", "url": "http://x/", "status": "done", "created_at": NOON,
        "result": '{"http_status": "200 OK", "title": 5, "links": {}, "text": ["a"], "own": 1}',
    })  # fmt: skip
    await target.adopt(legacy)
    (task,) = await target.rows(BrowserTask)
    assert task.result == {
        "adopted_http_status": "200 OK", "adopted_title": 5, "adopted_links": {},
        "adopted_text": ["a"], "own": 1,
    }  # fmt: skip
