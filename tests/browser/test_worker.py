"""A pod's worker: it claims due tasks in order, shares the queue and notices changes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.services.browser import runner, worker
from tests.browser.task_pods import AWAY, DIED, FakeBrowser, MakePod, Pod, visit_of
from tests.fakes.eventually import eventually

pytestmark = pytest.mark.usefixtures("quick")


async def test_twenty_tasks_start_in_order_a_few_at_a_time(pod: Pod, browser: FakeBrowser) -> None:
    urls = [f"https://example.org/{n}" for n in range(20)]
    ids = [await pod.add(url, "s1") for url in urls]
    for task_id in ids:
        assert (await pod.end(task_id)).status == "completed"
    assert browser.seen == urls
    assert max(len(pages) for pages in browser.together) <= runner.PAGES_A_POD
    started = [e.data["task_id"] for e in await pod.replayed("s1") if e.name.endswith(".started")]
    assert started == ids


async def test_one_task_does_not_wait_for_the_many_of_another_user(
    make_pod: MakePod, browser: FakeBrowser
) -> None:
    pod = await make_pod(pages=1)
    first = await pod.add("https://hold.test/0", user="ana")
    await pod.until(first, "running")
    many = [f"https://example.org/ana/{n}" for n in range(40)]
    ids = [await pod.add(url, user="ana") for url in many]
    for user in ("bob", "zoë"):
        ids += [await pod.add(f"https://example.org/{user}/{n}", user=user) for n in range(2)]
    browser.hold.set()
    for task_id in ids:
        await pod.end(task_id)
    turns = [url.removeprefix("https://example.org/") for url in browser.seen[1:]]
    assert turns[:6] == ["bob/0", "zoë/0", "ana/0", "bob/1", "zoë/1", "ana/1"]
    assert turns[6:] == [f"ana/{n}" for n in range(2, 40)]


async def test_running_tasks_of_a_user_leave_room_for_others(
    make_pod: MakePod, browser: FakeBrowser
) -> None:
    pod = await make_pod(pages=4, pages_per_user=3)
    anas = [await pod.add(f"https://hold.test/{n}", user="ana") for n in range(8)]
    for task_id in anas[:3]:
        await pod.until(task_id, "running")
    assert (await pod.end(await pod.add("https://example.org/", user="bob"))).status == "completed"
    assert len(pod.worker.runner) == 3
    assert (await pod.get(anas[3])).position == 1
    browser.hold.set()
    for task_id in anas:
        assert (await pod.end(task_id)).status == "completed"
    assert max(len(pages - {"https://example.org/"}) for pages in browser.together) == 3


async def test_steps_of_the_same_pod_wait_for_no_poll(
    make_pod: MakePod, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking around is for what other pods do."""
    for name in ("WATCH_INTERVAL", "POLL_INTERVAL", "IDLE_INTERVAL"):
        monkeypatch.setattr(worker, name, 60)
    pod = await make_pod()
    urls = [f"https://example.org/{n}" for n in range(10)]
    browser.on(urls[3], AWAY, AWAY, visit_of())
    browser.on(urls[5], DIED, visit_of())
    ids = [await pod.add(url) for url in urls]
    views = await asyncio.gather(*(pod.end(task_id) for task_id in ids))
    assert {view.status for view in views} == {"completed"}
    running = await pod.add("https://hold.test/")
    await pod.until(running, "running")
    assert (await pod.tasks.cancel(Caller(), running)).status == "cancelled"


async def test_pod_without_room_is_helped_by_another(
    make_pod: MakePod, browser: FakeBrowser
) -> None:
    """A pod whose hands are full is helped by one that hears of nothing but by looking."""
    first, second = await make_pod("pod-1", pages=1), await make_pod("pod-2", pages=1)
    ids = [await first.add(f"https://hold.test/{n}") for n in range(2)]
    await first.until(ids[1], "running")
    await eventually(lambda: len(first.worker.runner) == len(second.worker.runner) == 1)
    browser.hold.set()
    assert (await first.end(ids[0])).status == "completed"
    assert (await first.end(ids[1])).status == "completed"


async def test_idle_pod_queries_little(make_pod: MakePod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "IDLE_INTERVAL", 0.25)
    asked: Counter[str] = Counter()
    pod = await make_pod()
    for name in ("claim", "waiting", "states"):
        original = getattr(pod.store, name)

        def counting(*args: Any, _name: str = name, _original: Any = original, **turn: Any) -> Any:
            asked[_name] += 1
            return _original(*args, **turn)

        monkeypatch.setattr(pod.store, name, counting)
    begun = time.monotonic()
    await asyncio.sleep(1.1)  # four idle intervals
    most = 2 + (time.monotonic() - begun) / 0.25
    assert asked["states"] == 0
    assert 0 < asked["claim"] <= most
    assert 0 < asked["waiting"] <= most


async def test_states_read_before_a_claim_stop_nothing(
    pod: Pod, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, claim = pod.store.states, pod.store.claim
    may_claim = asyncio.Event()
    looks: list[str] = []

    async def later(pod_id: str, **turn: Any) -> Any:
        await may_claim.wait()
        return await claim(pod_id, **turn)

    async def late(task_ids: Any) -> Any:
        found = await states(task_ids)
        looks.extend(state.status for state in found)
        if looks == ["pending"]:
            may_claim.set()
            await pod.until(task_id, "running")
        return found

    monkeypatch.setattr(pod.store, "claim", later)
    monkeypatch.setattr(pod.store, "states", late)
    task_id = await pod.add("https://hold.test/")
    waiting = asyncio.ensure_future(pod.end(task_id))
    await eventually(lambda: len(looks) >= 2)
    assert looks == ["pending", "running"]
    assert browser.left == []
    browser.hold.set()
    assert (await waiting).status == "completed"


async def test_claims_go_on_after_an_outage_of_the_database(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = pod.store.claim
    failures = [OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "gone")] * 2

    async def failing(*args: Any, **turn: Any) -> Any:
        if failures:
            raise failures.pop()
        return await original(*args, **turn)

    monkeypatch.setattr(pod.store, "claim", failing)
    assert (await pod.end(await pod.add("https://example.org/"))).status == "completed"
