"""The writes of browser tasks and what they leave, on both engines."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.models import BrowserTask, TaskStatus
from operator_svc.protocol.browser import BrowserTaskFact
from operator_svc.services.browser import outcomes
from operator_svc.stores.browser_task_rows import ClaimedTask, NewTask, Picture, TaskOutcome
from operator_svc.stores.browser_tasks import BrowserTaskStore
from operator_svc.stores.events import EventRow, EventStore, StoredEvent
from operator_svc.stores.pods import PodStore
from operator_svc.stores.sessions import SessionStore
from tests.fakes.records import lease

POD = "pod-1"
URL = "https://example.org/ñ"


class Tasks:
    """The stores of one database, and short ways to use them."""

    def __init__(self, database: Database) -> None:
        self.store = BrowserTaskStore(database)
        self.sessions = SessionStore(database)
        self.pods = PodStore(database)
        self._events = EventStore(database)

    async def add(
        self,
        session_id: str | None = None,
        *,
        viewer: str | None = None,
        url: str = URL,
        user: str = "ana",
    ) -> tuple[str, StoredEvent | None]:
        task_id = uuid.uuid4().hex
        new = NewTask(
            task_id=task_id, session_id=session_id, user_id=user, url=url,
            options={"full_page": True},
        )  # fmt: skip
        return task_id, await self.store.add(new, viewer)

    async def add_new(self, session_id: str, user: str = "ana") -> tuple[str, StoredEvent | None]:
        task_id = uuid.uuid4().hex
        new = NewTask(
            task_id=task_id, session_id=session_id, user_id=user, url=URL, options={}
        )  # fmt: skip
        return task_id, await self.store.add_new(new, str(uuid.uuid4()), "web")

    async def get(self, task_id: str) -> BrowserTask:
        task = await self.store.get(task_id)
        assert task is not None
        return task

    async def claim(self, pod: str = POD) -> ClaimedTask:
        claimed = await self.store.claim(pod)
        assert claimed is not None
        return claimed

    async def end(self, task: BrowserTask, outcome: TaskOutcome) -> StoredEvent | None:
        return await self.store.end(task, outcome)

    async def release(self, task: BrowserTask, **changes: Any) -> StoredEvent | None:
        given = {"attempts": task.attempts, "deaths": task.deaths, "delay": 0.0} | changes
        return await self.store.release(task, **given)

    async def events(self, session_id: str) -> list[EventRow]:
        rows = (await self._events.after(session_id, 0, 1000)).rows
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        session = await self.sessions.get(session_id)
        assert session is not None
        assert session.last_seq == len(rows)
        return rows


@pytest.fixture
def tasks(database: Database) -> Tasks:
    return Tasks(database)


DONE = TaskOutcome(
    status=TaskStatus.COMPLETED,
    attempts=1,
    deaths=0,
    result={
        "status": "ok",
        "final_url": "https://example.org/end",
        "http_status": 404,
        "title": "Título",
        "text_snippet": "漢",
        "text": "漢字",
        "links": [{"url": "https://a.test/", "text": "a"}],
    },
    duration_ms=12,
    picture=Picture(b"\x89PNG\r\n\x1a\n\0\xff", "abc"),
)


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


async def test_queue_is_first_come_first_served(tasks: Tasks) -> None:
    await tasks.add_new("s1")
    ids = [(await tasks.add("s1" if n % 2 else None))[0] for n in range(6)]
    first = await tasks.claim()
    assert [await tasks.store.ahead(await tasks.get(task_id)) for task_id in ids] == list(range(6))
    assert (await tasks.store.waiting(100)).pending == 6
    assert (await tasks.store.waiting(4)).due == 4
    claimed = await tasks.claim()
    assert claimed.task_id == ids[0]
    # Given back without a delay it has its old place; with one it is passed over.
    assert await tasks.release(claimed) is not None
    claimed = await tasks.claim()
    assert claimed.task_id == ids[0]
    assert await tasks.release(claimed, attempts=1, deaths=1, delay=60) is not None
    assert [(await tasks.claim()).task_id for _ in range(5)] == ids[1:]
    assert await tasks.store.claim(POD) is None
    later = await tasks.get(ids[0])
    assert (later.status, later.attempts, later.deaths, later.owner) == ("pending", 1, 1, None)
    assert later.started_at is None
    waiting = await tasks.store.waiting(100)
    assert (waiting.pending, waiting.due) == (1, 0)
    assert first.task_id not in ids


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


async def test_claim_takes_the_first_due_task_of_the_next_user(tasks: Tasks) -> None:
    anas = [(await tasks.add(user="ana"))[0] for _ in range(3)]
    zoes = [(await tasks.add(user="zoë"))[0] for _ in range(2)]
    (bobs,) = [(await tasks.add_new("s1", "bob"))[0]]

    async def claim(after: str, *passed_over: str) -> str | None:
        claimed = await tasks.store.claim(POD, after=after, passed_over=passed_over)
        return claimed.task_id if claimed else None

    assert await claim("") == anas[0]
    assert await claim("ana") == bobs
    assert await claim("bob") == zoes[0]
    assert await claim("zoë") is None  # the caller begins again
    assert await claim("", "ana") == zoes[1]
    assert await claim("", "ana", "zoë") is None
    assert await claim("abe", "zoë") == anas[1]  # a user who has no task
    assert [row.event for row in await tasks.events("s1")][-1] == "browser_task.started"
    assert await tasks.store.ahead(await tasks.get(anas[2])) == 0


async def test_claim_passes_over_a_user_whose_tasks_are_not_due(tasks: Tasks) -> None:
    await tasks.add(user="ana")
    await tasks.release(await tasks.claim(), delay=60.0)
    bobs, _ = await tasks.add(user="bob")
    assert (await tasks.claim()).task_id == bobs
    assert await tasks.store.claim(POD) is None


async def test_racing_claims_give_each_task_to_one_pod(tasks: Tasks) -> None:
    """Each task goes to one of them, also within one session."""
    await tasks.add_new("s1")
    ids = [(await tasks.add("s1" if n % 3 else None))[0] for n in range(29)]

    async def work(pod: str) -> list[str]:
        mine: list[str] = []
        misses = 0
        while misses < 50:
            claimed = await tasks.store.claim(pod)
            if claimed is None:
                misses += 1
                await asyncio.sleep(0.002)  # others are at work
            else:
                mine.append(claimed.task_id)
        return mine

    shares = await asyncio.gather(work("pod-1"), work("pod-2"), work("pod-3"))
    taken = [task_id for share in shares for task_id in share]
    assert len(taken) == len(set(taken)) == 30
    assert set(ids) < set(taken)
    started = [r for r in await tasks.events("s1") if r.event == "browser_task.started"]
    assert len(started) == 1 + sum(1 for n in range(29) if n % 3)


async def test_racing_writes_of_one_session_leave_no_gap(tasks: Tasks) -> None:
    """Adding, claiming, ending, cancelling and deleting at once: no gap, and no deadlock."""
    await tasks.add_new("s1")

    async def add() -> None:
        for _ in range(15):
            await tasks.add("s1")

    async def run(pod: str) -> int:
        ended = 0
        for _ in range(40):
            claimed = await tasks.store.claim(pod)
            if claimed is not None and await tasks.end(claimed, DONE) is not None:
                ended += 1
        return ended

    async def cancel() -> int:
        done = 0
        for _ in range(20):
            page = await tasks.store.page(session_id="s1", user_id=None, status=None, limit=5)
            for row in page.rows:
                task = await tasks.get(row.task_id)
                await tasks.store.request_cancel(task.task_id)
                if task.owner is None and task.status == "pending":
                    done += await tasks.end(task, outcomes.cancelled(task)) is not None
        return done

    await asyncio.gather(add(), run("pod-1"), run("pod-2"), cancel(), add())
    while (claimed := await tasks.store.claim(POD)) is not None:
        await tasks.end(claimed, DONE)
    rows = await tasks.events("s1")
    endings = [row for row in rows if row.event.rpartition(".")[2] in ("completed", "cancelled")]
    assert len(endings) == len({row.data["task_id"] for row in endings}) == 31

    async def delete() -> None:
        await asyncio.sleep(0.01)  # in the middle of the others
        await tasks.sessions.delete("s1", None)

    await asyncio.gather(add(), run("pod-1"), run("pod-2"), delete())
    page = await tasks.store.page(session_id="s1", user_id=None, status=None, limit=5)
    assert page.rows == []


async def test_unowned_tasks_are_those_of_dead_pods_and_own_ones(
    tasks: Tasks, database: Database
) -> None:
    for _ in range(3):
        await tasks.add()
    await tasks.pods.register("alive", 30)
    mine, other, dead = [await tasks.claim(pod) for pod in (POD, "alive", "dead")]
    if database.dialect == "postgresql":
        await tasks.pods.register(POD, 30)
        await lease(database, "dead", -1)
    found = await tasks.store.unowned(POD)
    assert {task.task_id for task in found} == {mine.task_id, dead.task_id}
    assert other.task_id not in {task.task_id for task in found}


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
