"""The queue of browser tasks: who claims what, under races too, on both engines."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc.db import Database
from operator_svc.services.browser import outcomes
from tests.fakes.records import lease
from tests.stores.browser_task_rows import DONE, POD, Tasks


@pytest.fixture
def tasks(database: Database) -> Tasks:
    return Tasks(database)


async def test_queue_is_first_come_first_served(tasks: Tasks) -> None:
    await tasks.add_new("s1")
    ids = [(await tasks.add("s1" if n % 2 else None))[0] for n in range(6)]
    first = await tasks.claim()
    rows = [await tasks.get(task_id) for task_id in ids]
    assert await tasks.store.places(rows) == {row.id: n for n, row in enumerate(rows, 1)}
    assert await tasks.store.places([rows[4], rows[1], first]) == {rows[4].id: 5, rows[1].id: 2}
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
    await tasks.add(user="bob")
    rows = [await tasks.get(task_id) for task_id in (*anas, *zoes, bobs)]
    assert await tasks.store.places(rows) == {rows[2].id: 1}


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
