"""Browser tasks as callers see them: the queue, cancelling, users, lists and the end of a pod."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, TaskStatus
from operator_svc.protocol.browser import BrowserTaskRequest
from operator_svc.services.browser import worker
from tests.browser.task_pods import FakeBrowser, MakePod, Pod
from tests.fakes.eventually import eventually

pytestmark = pytest.mark.usefixtures("quick")


async def test_position_counts_the_tasks_that_are_due_before(
    pod: Pod, browser: FakeBrowser
) -> None:
    ids = [await pod.add(f"https://hold.test/{n}") for n in range(7)]
    await pod.until(ids[3], "running")
    views = [await pod.get(task_id) for task_id in ids]
    assert [view.position for view in views] == [None] * 4 + [1, 2, 3]
    assert [view.status for view in views] == ["running"] * 4 + ["pending"] * 3
    assert all(view.result is None for view in views)
    browser.hold.set()
    await asyncio.gather(*(pod.end(task_id) for task_id in ids))


async def test_waiting_task_is_cancelled_at_once(pod: Pod, browser: FakeBrowser) -> None:
    for n in range(4):
        await pod.add(f"https://hold.test/{n}")
    task_id = await pod.add("https://example.org/", "s1")
    view = await pod.tasks.cancel(Caller(), task_id)
    assert (view.status, view.result, view.position) == ("cancelled", None, None)
    assert view.completed_at is not None
    browser.hold.set()
    assert await pod.steps("s1", task_id) == ["queued", "cancelled"]
    again = await pod.tasks.cancel(Caller(), task_id)
    assert again == view
    assert "https://example.org/" not in browser.seen


@pytest.mark.measures_time
@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_running_task_is_cancelled_within_a_second_on_any_pod(
    make_pod: MakePod, browser: FakeBrowser, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "WATCH_INTERVAL", 0.5)
    pod = await make_pod()
    other = pod if where == "here" else await make_pod("pod-2", pages=0)
    task_id = await pod.add("https://hold.test/", "s1")
    await eventually(lambda: browser.seen)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    cancelled = asyncio.ensure_future(other.tasks.cancel(Caller(), task_id))
    await eventually(lambda: browser.left)
    assert loop.time() - begun < 1.0
    assert (await cancelled).status == "cancelled"
    assert loop.time() - begun < 1.5
    assert await pod.steps("s1", task_id) == ["queued", "started", "cancelled"]
    assert browser.left == ["https://hold.test/"]


async def test_many_cancels_and_an_end_make_one_last_event(
    make_pod: MakePod, browser: FakeBrowser
) -> None:
    pods = [await make_pod(f"pod-{n}") for n in range(3)]
    ids = []
    for n in range(12):
        url = f"https://hold.test/{n}" if n % 2 else f"https://example.org/{n}"
        ids.append(await pods[0].add(url, "s1"))
    views = await asyncio.gather(
        *(pod.tasks.cancel(Caller(), task_id) for task_id in ids for pod in pods)
    )
    assert {view.status for view in views} <= {"completed", "cancelled"}
    endings = Counter(
        event.data["task_id"]
        for event in await pods[0].replayed("s1")
        if event.name in ("browser_task.completed", "browser_task.cancelled")
    )
    assert endings == dict.fromkeys(ids, 1)


async def test_running_task_stops_when_its_session_is_deleted(
    pod: Pod, browser: FakeBrowser
) -> None:
    task_id = await pod.add("https://hold.test/", "s1")
    await eventually(lambda: browser.seen)
    waiting = asyncio.ensure_future(pod.tasks.wait(Caller(), task_id, 10))
    await asyncio.sleep(0)  # it waits now
    await pod.sessions.delete("s1", None)
    with pytest.raises(OperatorError) as caught:
        await waiting
    assert caught.value.code is ErrorCode.TASK_NOT_FOUND
    await eventually(lambda: browser.left)
    await pod.worker.runner.idle()


async def test_users_see_their_own_tasks_only(pod: Pod) -> None:
    bob, eve = Caller("b", "client", "bob"), Caller("e", "client", "eve")
    asked = BrowserTaskRequest("https://example.org/", {}, "s1")
    task_id = await pod.tasks.add(bob, asked)
    await pod.end(task_id)
    assert (await pod.tasks.get(bob, task_id)).user_id == "bob"
    for refused in (
        pod.tasks.get(eve, task_id),
        pod.tasks.cancel(eve, task_id),
        pod.tasks.screenshot(eve, task_id),
        pod.tasks.screenshot_etag(eve, task_id),
        pod.tasks.wait(eve, task_id, 1),
    ):
        with pytest.raises(OperatorError) as caught:
            await refused
        assert caught.value.code is ErrorCode.TASK_NOT_FOUND
    with pytest.raises(OperatorError) as caught:
        await pod.tasks.add(eve, asked)
    assert caught.value.code is ErrorCode.SESSION_NOT_FOUND
    with pytest.raises(OperatorError) as caught:
        await pod.tasks.add(eve, BrowserTaskRequest("https://example.org/", {}, None, "bob"))
    assert caught.value.code is ErrorCode.FORBIDDEN
    filters: dict[str, Any] = {"session_id": None, "status": None, "limit": 5, "cursor": None}
    assert (await pod.tasks.page(eve, user_id=None, **filters)).tasks == []
    assert len((await pod.tasks.page(bob, user_id=None, **filters)).tasks) == 1
    with pytest.raises(OperatorError) as caught:
        await pod.tasks.page(eve, user_id="bob", **filters)
    assert caught.value.code is ErrorCode.FORBIDDEN


async def test_list_is_paged_newest_first(pod: Pod) -> None:
    ids = [await pod.add(f"https://example.org/{n}") for n in range(5)]
    for task_id in ids:
        await pod.end(task_id)
    seen: list[str] = []
    cursor = None
    while True:
        page = await pod.tasks.page(
            Caller(),
            session_id=None,
            user_id="local",
            status=TaskStatus.COMPLETED,
            limit=2,
            cursor=cursor,
        )
        seen += [task.task_id for task in page.tasks]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == ids[::-1]


async def test_drain_queues_running_tasks_again_uncounted(
    make_pod: MakePod, browser: FakeBrowser
) -> None:
    first = await make_pod("pod-1")
    ids = [await first.add(f"https://hold.test/{n}", "s1") for n in range(6)]
    await eventually(lambda: len(browser.seen) == 4)
    waiting = asyncio.ensure_future(first.tasks.wait(Caller(), ids[0], 20))
    await first.tasks.drain(0.05)
    view = await waiting  # whoever waits is told how it stands
    assert (view.status, view.attempts, view.position) == ("pending", 0, 1)
    with pytest.raises(OperatorError) as caught:
        await first.add("https://example.org/")
    assert caught.value.code is ErrorCode.DRAINING
    assert sorted(browser.left) == [f"https://hold.test/{n}" for n in range(4)]
    browser.hold.set()
    second = await make_pod("pod-2")
    for task_id in ids:
        view = await second.end(task_id)
        assert (view.status, view.attempts) == ("completed", 0)
    assert browser.seen[4:] == [f"https://hold.test/{n}" for n in range(6)]


async def test_running_tasks_may_end_while_draining(
    make_pod: MakePod, browser: FakeBrowser
) -> None:
    pod = await make_pod()
    ids = [await pod.add(f"https://hold.test/{n}") for n in range(5)]
    await eventually(lambda: len(browser.seen) == 4)
    waiting = [asyncio.ensure_future(pod.tasks.wait(Caller(), i, 20)) for i in ids[3:]]
    await asyncio.sleep(0)  # they wait now
    draining = asyncio.ensure_future(pod.tasks.drain(10))
    assert (await waiting[1]).status == "pending"  # another pod has to run it
    browser.hold.set()
    assert (await waiting[0]).status == "completed"
    await draining
    statuses = [(await pod.get(task_id)).status for task_id in ids]
    assert statuses == ["completed"] * 4 + ["pending"]
