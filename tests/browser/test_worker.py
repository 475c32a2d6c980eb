"""Browser tasks as jobs: tried again, given back, taken over, cancelled, each ending once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, TaskStatus
from operator_svc.peers.browser import BrowserAwayError, BrowserBusyError, BrowserDiedError
from operator_svc.peers.transport import PeerRefusedError
from operator_svc.protocol.browser import BrowserTaskRequest
from operator_svc.protocol.navigate import Visit
from operator_svc.services.browser import outcomes, runner, worker
from operator_svc.services.live.events import LiveEvent

AWAY = BrowserAwayError("refused")
DIED = BrowserDiedError("died")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of a worker, shorter."""
    monkeypatch.setattr(worker, "WATCH_INTERVAL", 0.05)
    monkeypatch.setattr(runner, "PROBE_INTERVAL", 0.01)
    monkeypatch.setattr(worker, "POLL_INTERVAL", 0.05)
    monkeypatch.setattr(worker, "IDLE_INTERVAL", 0.1)
    monkeypatch.setattr(runner, "BUSY_MIN", 0.01)


async def test_a_task_is_run_and_shown(pod: Any) -> None:
    feed = await pod.hub.open_feed("s1")
    shown: list[LiveEvent | None] = []
    feed.listeners.add(shown.append)
    task_id = await pod.add("https://example.org/", "s1", full_page=True)
    view = await pod.end(task_id)
    assert (view.status, view.error_message, view.attempts) == ("completed", None, 0)
    assert view.result is not None
    assert view.result.status == "ok"
    assert view.result.text_snippet == view.text_snippet == ("What it says. " * 100)[:500]
    assert view.result.text == "What it says. " * 100
    assert view.result.script_result == {"n": [1, None]}
    assert view.screenshot_path == f"/operator/browser/task/{task_id}/screenshot"
    # Live and replayed are the same: what tells of tasks byte for byte.
    replayed = await pod.replayed("s1")
    assert [event.name for event in replayed] == [
        "session.created",
        "browser_task.queued",
        "browser_task.started",
        "browser_task.completed",
    ]
    assert [event.data for event in replayed] == [event.data for event in shown if event]
    assert [event.frame for event in replayed[1:]] == [event.frame for event in shown[1:] if event]
    pod.hub.release(feed)


@pytest.mark.parametrize(
    ("status", "ends_as", "event"),
    [
        ("ok", "completed", "completed"),
        ("timeout", "timeout", "failed"),
        ("error", "failed", "failed"),
        ("blocked", "blocked", "failed"),
    ],
)
async def test_a_page_that_failed_is_not_tried_again(
    pod: Any, browser: Any, status: str, ends_as: str, event: str
) -> None:
    url = "https://example.org/"
    browser.on(url, visit_of(status=status, error="words", screenshot=None))
    task_id = await pod.add(url, "s1")
    view = await pod.end(task_id)
    assert (view.status, view.error_message) == (ends_as, "words")
    assert (view.result.status, view.screenshot_path) == (status, None)
    assert await pod.steps("s1", task_id) == ["queued", "started", event]
    assert (await pod.replayed("s1"))[-1].data["status"] == ends_as
    assert browser.seen == [url]


def visit_of(**fields: Any) -> Visit:
    given = {"status": "ok", "url": "u", "final_url": "u", "duration_ms": 1}
    return Visit(**{**given, **fields})


async def test_a_browser_that_is_away_for_a_moment_is_waited_for(pod: Any, browser: Any) -> None:
    url = browser.on("https://example.org/", AWAY, AWAY, visit_of())
    task_id = await pod.add(url, "s1")
    view = await pod.end(task_id)
    assert (view.status, view.attempts) == ("completed", 2)
    assert await pod.steps("s1", task_id) == [*["queued", "started"] * 3, "completed"]
    attempts = [e.data["attempts"] for e in await pod.replayed("s1") if "attempts" in e.data]
    assert attempts == [0, 0, 1, 1, 2, 2, 2]


async def test_a_browser_that_stays_away_fails_the_task(pod: Any, browser: Any) -> None:
    url = browser.on("https://example.org/", AWAY)
    task_id = await pod.add(url, "s1")
    view = await pod.end(task_id)
    assert (view.status, view.error_message) == ("failed", "browser_unavailable")
    assert (view.attempts, len(browser.seen)) == (6, 6)
    assert (await pod.steps("s1", task_id))[-1] == "failed"


async def test_a_page_that_kills_the_browser_three_times_has_failed(pod: Any, browser: Any) -> None:
    url = browser.on("https://example.org/", DIED)
    task_id = await pod.add(url, "s1")
    view = await pod.end(task_id)
    assert (view.status, view.attempts) == ("failed", 3)
    assert view.error_message == "the browser died under the page, 3 times"
    assert len(browser.seen) == 3


async def test_away_and_died_are_counted_apart(pod: Any, browser: Any) -> None:
    url = browser.on("https://example.org/", DIED, AWAY, AWAY, DIED, visit_of())
    view = await pod.end(await pod.add(url))
    assert (view.status, view.attempts) == ("completed", 4)


async def test_a_killer_takes_no_innocent_along(pod: Any, browser: Any) -> None:
    """Pages that were open when the browser died are opened again, each for itself."""
    gate = asyncio.Event()

    async def die() -> Visit:
        await gate.wait()
        raise DIED

    urls = [f"https://example.org/{n}" for n in range(3)]
    for url in urls:
        browser.on(url, die, visit_of())
    killer = browser.on("https://example.org/killer", die, DIED)
    ids = [await pod.add(url) for url in (*urls, killer)]
    while len(browser.seen) < 4:
        await asyncio.sleep(0.01)
    gate.set()
    views = [await pod.end(task_id) for task_id in ids]
    assert [view.status for view in views] == [*["completed"] * 3, "failed"]
    assert browser.seen.count(killer) == 3
    again = browser.together[4:]
    assert all(len(pages) == 1 for pages in again)
    assert len(again) == 5


async def test_a_suspect_has_the_browser_for_itself(pod: Any, browser: Any) -> None:
    seen_again, may_end = asyncio.Event(), asyncio.Event()

    async def again() -> Visit:
        seen_again.set()
        await may_end.wait()
        return visit_of()

    suspect = browser.on("https://example.org/suspect", DIED, again)
    first = await pod.add("https://hold.test/first")
    await pod.until(first, "running")
    second = await pod.add(suspect)
    async with asyncio.timeout(10):
        while (await pod.get(second)).attempts == 0:
            await asyncio.sleep(0.01)
    await pod.until(second, "running")
    third = await pod.add("https://example.org/third")
    await asyncio.sleep(0.2)
    assert not seen_again.is_set()  # a page is open beside which it may not be tried
    browser.hold.set()
    await seen_again.wait()
    await asyncio.sleep(0.2)
    assert (await pod.get(third)).status == "pending"  # nor may others be begun beside it
    may_end.set()
    for task_id in (first, second, third):
        assert (await pod.end(task_id)).status == "completed"


async def test_a_full_queue_is_waited_for_and_not_counted(pod: Any, browser: Any) -> None:
    url = browser.on("https://example.org/", *[BrowserBusyError(0.01)] * 20, visit_of())
    task_id = await pod.add(url, "s1")
    view = await pod.end(task_id)
    assert (view.status, view.attempts, len(browser.seen)) == ("completed", 0, 21)
    assert await pod.steps("s1", task_id) == ["queued", "started", "completed"]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OperatorError(ErrorCode.PEER_ERROR, "nonsense"), "peer_error"),
        (PeerRefusedError(ErrorCode.PEER_ERROR, "no", status=403), "peer_error"),
        (
            PeerRefusedError(ErrorCode.PEER_ERROR, "no", status=422),
            "the address is none that Chromium understands",
        ),
    ],
)
async def test_an_answer_of_no_use_fails_the_task_at_once(
    pod: Any, browser: Any, error: Exception, shown: str
) -> None:
    url = browser.on("https://example.org/", error)
    view = await pod.end(await pod.add(url))
    assert (view.status, view.error_message, len(browser.seen)) == ("failed", shown, 1)


async def test_twenty_tasks_start_in_order_a_few_at_a_time(pod: Any, browser: Any) -> None:
    urls = [f"https://example.org/{n}" for n in range(20)]
    ids = [await pod.add(url, "s1") for url in urls]
    for task_id in ids:
        assert (await pod.end(task_id)).status == "completed"
    assert browser.seen == urls
    assert max(len(pages) for pages in browser.together) <= runner.PAGES_A_POD
    started = [e.data["task_id"] for e in await pod.replayed("s1") if e.name.endswith(".started")]
    assert started == ids


async def test_no_step_waits_for_a_look(
    make_pod: Any, browser: Any, monkeypatch: pytest.MonkeyPatch
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


async def test_the_place_in_the_queue(pod: Any, browser: Any) -> None:
    ids = [await pod.add(f"https://hold.test/{n}") for n in range(7)]
    await pod.until(ids[3], "running")
    views = [await pod.get(task_id) for task_id in ids]
    assert [view.position for view in views] == [None] * 4 + [1, 2, 3]
    assert [view.status for view in views] == ["running"] * 4 + ["pending"] * 3
    assert all(view.result is None for view in views)
    browser.hold.set()
    await asyncio.gather(*(pod.end(task_id) for task_id in ids))


# Cancelling.


async def test_a_waiting_task_is_cancelled_at_once(pod: Any, browser: Any) -> None:
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
async def test_a_running_task_is_cancelled_within_a_second(
    make_pod: Any, browser: Any, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "WATCH_INTERVAL", 0.5)
    pod = await make_pod()
    other = pod if where == "here" else await make_pod("pod-2", pages=0)
    task_id = await pod.add("https://hold.test/", "s1")
    await pod.until(task_id, "running")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    cancelled = asyncio.ensure_future(other.tasks.cancel(Caller(), task_id))
    while not browser.left:
        await asyncio.sleep(0.01)
    assert loop.time() - begun < 1.0
    assert (await cancelled).status == "cancelled"
    assert loop.time() - begun < 1.5
    assert await pod.steps("s1", task_id) == ["queued", "started", "cancelled"]
    assert browser.left == ["https://hold.test/"]


async def test_many_cancels_and_an_end_make_one_last_event(make_pod: Any, browser: Any) -> None:
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


async def test_a_task_is_stopped_when_its_session_is_deleted(pod: Any, browser: Any) -> None:
    task_id = await pod.add("https://hold.test/", "s1")
    await pod.until(task_id, "running")
    waiting = asyncio.ensure_future(pod.tasks.wait(Caller(), task_id, 10))
    await asyncio.sleep(0.05)
    await pod.sessions.delete("s1", None)
    with pytest.raises(OperatorError) as caught:
        await waiting
    assert caught.value.code is ErrorCode.TASK_NOT_FOUND
    while not browser.left:
        await asyncio.sleep(0.01)
    await pod.worker.runner.idle()


# Owners that go away.


async def test_a_task_of_a_dead_pod_is_taken_over_once(make_pod: Any, browser: Any) -> None:
    first = await make_pod("pod-1")
    task_id = await first.add("https://hold.test/", "s1")
    await first.until(task_id, "running")
    await first.kill()
    others = [await make_pod(f"pod-{n}") for n in (2, 3)]
    await asyncio.gather(*(pod.tasks.reclaimer.sweep() for pod in others))
    await others[0].until(task_id, "running")
    browser.hold.set()
    view = await others[0].end(task_id)
    assert (view.status, view.attempts) == ("completed", 1)
    assert await others[0].steps("s1", task_id) == [*["queued", "started"] * 2, "completed"]
    assert len(browser.seen) == 2


async def test_a_dead_pods_task_that_was_cancelled_is_not_run_again(make_pod: Any) -> None:
    first = await make_pod("pod-1")
    task_id = await first.add("https://hold.test/", "s1")
    await first.until(task_id, "running")
    await first.kill()
    other = await make_pod("pod-2")
    assert await other.store.request_cancel(task_id)
    await other.tasks.reclaimer.sweep()
    assert (await other.get(task_id)).status == "cancelled"
    assert await other.steps("s1", task_id) == ["queued", "started", "cancelled"]


async def test_a_task_that_outlives_its_owners_again_and_again_fails(make_pod: Any) -> None:
    task_id = ""
    for n in range(6):
        pod = await make_pod(f"pod-{n}")
        task_id = task_id or await pod.add("https://hold.test/")
        await pod.tasks.reclaimer.sweep()
        await pod.until(task_id, "running")
        await pod.kill()
    last = await make_pod("last")
    await last.tasks.reclaimer.sweep()
    view = await last.get(task_id)
    assert (view.status, view.error_message) == ("failed", "browser_unavailable")


async def test_a_pod_that_lost_its_lease_writes_nothing_more(
    make_pod: Any, browser: Any, database: Database
) -> None:
    first = await make_pod("pod-1")
    task_id = await first.add("https://hold.test/", "s1")
    await first.until(task_id, "running")
    await first.pods.remove("pod-1")
    first.pod_id = "pod-1-anew"
    await first.pods.register(first.pod_id, 30)
    while not browser.left:  # it stops the page by itself
        await asyncio.sleep(0.01)
    await first.worker.runner.idle()
    assert (await first.get(task_id)).status == "running"  # and leaves the task to others
    await first.tasks.reclaimer.sweep()
    browser.hold.set()
    view = await first.end(task_id)
    assert (view.status, view.attempts) == ("completed", 1)
    assert (await first.steps("s1", task_id))[-3:] == ["queued", "started", "completed"]


async def test_a_claim_whose_answer_was_lost_is_found(make_pod: Any) -> None:
    pod = await make_pod(pages=0)
    task_id = await pod.add("https://example.org/", "s1")
    assert await pod.store.claim(pod.pod_id) is not None
    await pod.tasks.reclaimer.sweep()
    assert (await pod.get(task_id)).status == "running"  # it might be about to be run
    await pod.tasks.reclaimer.sweep()
    assert (await pod.get(task_id)).status == "pending"


async def test_what_runs_at_the_end_is_given_back_uncounted(make_pod: Any, browser: Any) -> None:
    first = await make_pod("pod-1")
    ids = [await first.add(f"https://hold.test/{n}", "s1") for n in range(6)]
    await first.until(ids[3], "running")
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


async def test_running_tasks_may_end_while_draining(make_pod: Any, browser: Any) -> None:
    pod = await make_pod()
    ids = [await pod.add(f"https://hold.test/{n}") for n in range(5)]
    await pod.until(ids[3], "running")
    waiting = [asyncio.ensure_future(pod.tasks.wait(Caller(), i, 20)) for i in ids[3:]]
    await asyncio.sleep(0.05)
    draining = asyncio.ensure_future(pod.tasks.drain(10))
    assert (await waiting[1]).status == "pending"  # another pod has to run it
    browser.hold.set()
    assert (await waiting[0]).status == "completed"
    await draining
    statuses = [(await pod.get(task_id)).status for task_id in ids]
    assert statuses == ["completed"] * 4 + ["pending"]


async def test_pods_share_the_work(make_pod: Any, browser: Any) -> None:
    """A pod whose hands are full is helped by one that hears of nothing but by looking."""
    first, second = await make_pod("pod-1", pages=1), await make_pod("pod-2", pages=1)
    ids = [await first.add(f"https://hold.test/{n}") for n in range(2)]
    await first.until(ids[1], "running")
    assert {len(first.worker.runner), len(second.worker.runner)} == {1}
    browser.hold.set()
    assert (await first.end(ids[0])).status == "completed"
    assert (await first.end(ids[1])).status == "completed"


async def test_an_idle_pod_asks_little(make_pod: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "IDLE_INTERVAL", 0.25)
    asked: Counter[str] = Counter()
    pod = await make_pod()
    for name in ("claim", "waiting", "states"):
        original = getattr(pod.store, name)

        def counting(*args: Any, _name: str = name, _original: Any = original) -> Any:
            asked[_name] += 1
            return _original(*args)

        monkeypatch.setattr(pod.store, name, counting)
    await asyncio.sleep(1.1)
    assert asked["states"] == 0
    assert 2 <= asked["claim"] <= 6
    assert 2 <= asked["waiting"] <= 6


async def test_a_look_that_is_older_than_a_claim_stops_nothing(
    pod: Any, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, claim = pod.store.states, pod.store.claim
    may_claim = asyncio.Event()
    looks: list[str] = []

    async def later(pod_id: str) -> Any:
        await may_claim.wait()
        return await claim(pod_id)

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
    while len(looks) < 2:
        await asyncio.sleep(0.01)
    assert looks == ["pending", "running"]
    assert browser.left == []
    browser.hold.set()
    assert (await waiting).status == "completed"


async def test_a_release_whose_answer_was_lost_does_not_touch_the_next_run(
    pod: Any, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod claims the task again before it learns that it had given it back."""
    url = browser.on("https://hold.test/", DIED, visit_of())
    browser.hold.set()
    release = pod.store.release
    lost = 0

    async def losing(*args: Any, **kwargs: Any) -> Any:
        nonlocal lost
        moved = await release(*args, **kwargs)
        if lost == 0:
            browser.hold.clear()
            lost += 1
            pod.worker.wake()
            await pod.until(task_id, "running")
            raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "no answer")
        lost += 1
        return moved

    monkeypatch.setattr(pod.store, "release", losing)
    task_id = await pod.add(url, "s1")
    async with asyncio.timeout(10):
        while lost < 2:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert (await pod.get(task_id)).status == "running"
    assert pod.worker.runner.get(task_id) is not None
    browser.hold.set()
    assert (await pod.end(task_id)).status == "completed"
    assert await pod.steps("s1", task_id) == [*["queued", "started"] * 2, "completed"]


# Failures of the database.


async def test_an_end_that_can_not_be_stored_is_stored_later(
    pod: Any, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = pod.store.end
    failures = [OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "gone")] * 3

    async def failing(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return await original(*args)

    monkeypatch.setattr(pod.store, "end", failing)
    task_id = await pod.add("https://example.org/", "s1")
    assert (await pod.end(task_id)).status == "completed"
    assert failures == []
    assert await pod.steps("s1", task_id) == ["queued", "started", "completed"]


async def test_a_pod_that_lost_its_lease_gives_up_storing(
    pod: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    async def failing(*args: Any) -> Any:
        nonlocal tried
        tried += 1
        raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "gone")

    monkeypatch.setattr(pod.store, "end", failing)
    await pod.add("https://example.org/")
    async with asyncio.timeout(10):
        while tried < 3:
            await asyncio.sleep(0.01)
        pod.pod_id = "pod-1-anew"
        await pod.worker.runner.idle()


async def test_claims_go_on_after_the_database_was_away(
    pod: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = pod.store.claim
    failures = [OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "gone")] * 2

    async def failing(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return await original(*args)

    monkeypatch.setattr(pod.store, "claim", failing)
    assert (await pod.end(await pod.add("https://example.org/"))).status == "completed"


async def test_a_fault_of_our_own_ends_the_task(
    pod: Any, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = browser.on("https://example.org/", ZeroDivisionError("secret"))
    view = await pod.end(await pod.add(url))
    assert (view.status, view.error_message, len(browser.seen)) == ("failed", "internal_error", 1)
    monkeypatch.setattr(outcomes, "of_visit", lambda *_: 1 / 0)
    view = await pod.end(await pod.add("https://example.org/2"))
    assert (view.status, view.error_message) == ("failed", "internal_error")


# Who may see what.


async def test_users_see_their_own(pod: Any) -> None:
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


async def test_lists_are_paged(pod: Any) -> None:
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
