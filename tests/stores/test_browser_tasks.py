"""The writes of browser tasks and what they leave, on both engines."""

from __future__ import annotations

from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.protocol.browser import BrowserTaskFact
from operator_svc.services.browser import outcomes
from tests.stores.browser_task_rows import DONE, POD, Tasks


@pytest.fixture
def tasks(database: Database) -> Tasks:
    return Tasks(database)


async def test_task_from_queued_to_completed_stores_an_event_for_each_move(tasks: Tasks) -> None:
    task_id, added = await tasks.add_new("s1", "bob")
    assert added is not None
    assert added.seq == 2
    stored = await tasks.get(task_id)
    assert (stored.status, stored.user_id, stored.session_id) == ("pending", "bob", "s1")
    assert stored.not_before == stored.created_at == added.ts

    claimed = await tasks.claim()
    assert (claimed.task_id, claimed.status, claimed.owner) == (task_id, "running", POD)
    assert claimed.seq == 3
    assert await tasks.store.claim(POD) is None

    ended = await tasks.end(claimed, DONE)
    assert ended is not None
    assert ended.seq == 4
    stored = await tasks.get(task_id)
    assert (stored.status, stored.owner, stored.attempts) == ("completed", None, 1)
    assert stored.result == DONE.result
    assert stored.completed_at == ended.ts
    picture = await tasks.store.screenshot(task_id)
    assert picture is not None
    assert picture.screenshot == b"\x89PNG\r\n\x1a\n\0\xff"

    rows = await tasks.events("s1")
    assert [row.event for row in rows] == [
        "session.created",
        "browser_task.queued",
        "browser_task.started",
        "browser_task.completed",
    ]
    assert rows[0].data == {"session_id": "s1", "user_id": "bob", "source": "web"}
    assert [row.data for row in rows[1:]] == [added.data, claimed.data, ended.data]
    assert [row.ts for row in rows[1:]] == [added.ts, claimed.ts, ended.ts]
    for row in rows[1:]:
        assert set(row.data) == set(BrowserTaskFact.__struct_fields__)
    assert [row.data["status"] for row in rows[1:]] == ["pending", "running", "completed"]
    last = rows[3].data
    assert "text" not in last
    assert last["text_snippet"] == "漢"
    assert last["screenshot_path"] == f"/operator/browser/task/{task_id}/screenshot"
    assert rows[1].data["created_at"] == rows[2].data["created_at"]
    for name in ("created_at", "started_at", "completed_at"):
        assert last[name].endswith("Z")


async def test_task_without_a_session_has_no_events(tasks: Tasks) -> None:
    task_id, added = await tasks.add()
    assert added is not None
    assert added.seq is None
    claimed = await tasks.claim()
    assert (claimed.task_id, claimed.session_id, claimed.seq) == (task_id, None, None)
    released = await tasks.release(claimed)
    assert released is not None
    assert released.seq is None
    ended = await tasks.end(await tasks.claim(), DONE)
    assert ended is not None
    assert ended.seq is None


async def test_task_joins_a_known_session_or_makes_a_new_one(tasks: Tasks) -> None:
    assert (await tasks.add("nowhere"))[1] is None
    assert (await tasks.add_new("s1", "bob"))[1] is not None
    assert (await tasks.add_new("s1", "eve"))[1] is None
    assert (await tasks.add("s1", viewer="eve"))[1] is None
    task_id, moved = await tasks.add("s1")
    assert moved is not None
    assert moved.seq == 3
    assert (await tasks.get(task_id)).user_id == "bob"
    assert await tasks.store.get(task_id, "bob") is not None
    assert await tasks.store.get(task_id, "eve") is None
    assert len(await tasks.events("s1")) == 3


async def test_running_task_is_moved_by_its_owner_only(tasks: Tasks) -> None:
    task_id, _ = await tasks.add_new("s1")
    waiting = await tasks.get(task_id)
    claimed = await tasks.claim()
    cancelled = outcomes.cancelled(claimed)
    assert await tasks.end(waiting, cancelled) is None  # it waits no more
    await tasks.release(claimed)
    assert await tasks.end(claimed, DONE) is None  # it is not run by this pod any more
    other = await tasks.claim("pod-2")
    assert await tasks.end(claimed, DONE) is None
    assert await tasks.release(claimed) is None
    assert await tasks.end(other, DONE) is not None
    assert await tasks.end(other, cancelled) is None
    assert await tasks.release(other) is None
    assert [row.event for row in await tasks.events("s1")][-1] == "browser_task.completed"


async def test_cancel_ends_a_waiting_task_and_marks_a_running_one(tasks: Tasks) -> None:
    task_id, _ = await tasks.add_new("s1")
    assert not await tasks.store.request_cancel(task_id)  # it does not run
    waiting = await tasks.get(task_id)
    assert await tasks.end(waiting, outcomes.cancelled(waiting)) is not None
    assert await tasks.store.claim(POD) is None
    assert [row.event for row in await tasks.events("s1")][-1] == "browser_task.cancelled"

    await tasks.add("s1")
    running = await tasks.claim()
    assert await tasks.store.request_cancel(running.task_id)
    (state,) = await tasks.store.states([running.task_id, "unknown"])
    assert (state.owner, state.status, state.cancel_requested) == (POD, "running", True)
    assert await tasks.release(running) is None  # what was asked to stop is not tried again
    assert await tasks.end(running, outcomes.cancelled(running)) is not None
    assert len(await tasks.events("s1")) == 6


async def test_deleted_session_takes_its_tasks_along(tasks: Tasks) -> None:
    await tasks.add_new("s1")
    claimed = await tasks.claim()
    assert await tasks.sessions.delete("s1", None) is not None
    assert await tasks.end(claimed, DONE) is None
    assert await tasks.release(claimed) is None
    assert await tasks.store.states([claimed.task_id]) == []


async def test_page_filters_by_session_user_and_status(tasks: Tasks) -> None:
    await tasks.add_new("s1", "bob")
    _, moved = await tasks.add("s1")
    assert moved is not None
    ended = await tasks.claim()
    await tasks.end(ended, DONE)
    await tasks.add()

    async def listed(**filters: Any) -> list[tuple[str, str]]:
        given = {"session_id": None, "user_id": None, "status": None, "limit": 10} | filters
        return [(row.user_id, row.status) for row in (await tasks.store.page(**given)).rows]

    assert await listed() == [("ana", "pending"), ("bob", "pending"), ("bob", "completed")]
    assert await listed(limit=1) == [("ana", "pending")]
    assert await listed(session_id="s1") == [("bob", "pending"), ("bob", "completed")]
    assert await listed(session_id="s1", user_id="ana") == []
    assert await listed(session_id="s1", status="completed") == [("bob", "completed")]
    assert await listed(user_id="bob", status="pending") == [("bob", "pending")]
    assert await listed(status="failed") == []
    page = await tasks.store.page(session_id=None, user_id=None, status="completed", limit=9)
    (row,) = page.rows
    assert (row.title, row.text_snippet, row.http_status) == ("Título", "漢", 404)
    assert await listed(before=row.id) == []


async def test_purge_deletes_old_screenshots_in_pieces(tasks: Tasks) -> None:
    for _ in range(3):
        await tasks.add()
        await tasks.end(await tasks.claim(), DONE)
    await tasks.add()
    assert await tasks.store.purge_screenshots(1.0, 10) == 0
    tomorrow = -1.0
    assert await tasks.store.purge_screenshots(tomorrow, 2) == 2
    assert await tasks.store.purge_screenshots(tomorrow, 2) == 1
    page = await tasks.store.page(session_id=None, user_id=None, status=None, limit=9)
    rows = page.rows
    assert [row.screenshot_etag for row in rows] == [None] * 4
    assert await tasks.store.screenshot(rows[-1].task_id) is None
