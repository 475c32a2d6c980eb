"""Running one browser task: its outcomes, tries, deaths of the browser, and storing them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.browser import BrowserBusyError
from operator_svc.peers.failures import PeerRefusedError
from operator_svc.protocol.navigate import Visit
from operator_svc.services.browser import outcomes
from operator_svc.services.live.events import LiveEvent
from tests.browser.task_pods import AWAY, DIED, FakeBrowser, Pod, visit_of
from tests.fakes.eventually import WITHIN, eventually

pytestmark = pytest.mark.usefixtures("quick")


async def test_task_is_run_and_its_events_are_live_as_replayed(pod: Pod) -> None:
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
async def test_page_that_failed_ends_its_task_at_once(
    pod: Pod, browser: FakeBrowser, status: str, ends_as: str, event: str
) -> None:
    url = "https://example.org/"
    browser.on(url, visit_of(status=status, error="words", screenshot=None))
    task_id = await pod.add(url, "s1")
    view = await pod.end(task_id)
    assert (view.status, view.error_message) == (ends_as, "words")
    assert view.result is not None
    assert (view.result.status, view.screenshot_path) == (status, None)
    assert await pod.steps("s1", task_id) == ["queued", "started", event]
    assert (await pod.replayed("s1"))[-1].data["status"] == ends_as
    assert browser.seen == [url]


async def test_browser_away_for_a_moment_is_tried_again(pod: Pod, browser: FakeBrowser) -> None:
    url = browser.on("https://example.org/", AWAY, AWAY, visit_of())
    task_id = await pod.add(url, "s1")
    view = await pod.end(task_id)
    assert (view.status, view.attempts) == ("completed", 2)
    assert await pod.steps("s1", task_id) == [*["queued", "started"] * 3, "completed"]
    attempts = [e.data["attempts"] for e in await pod.replayed("s1") if "attempts" in e.data]
    assert attempts == [0, 0, 1, 1, 2, 2, 2]


async def test_browser_that_stays_away_fails_the_task(pod: Pod, browser: FakeBrowser) -> None:
    url = browser.on("https://example.org/", AWAY)
    task_id = await pod.add(url, "s1")
    view = await pod.end(task_id)
    assert (view.status, view.error_message) == ("failed", "browser_unavailable")
    assert (view.attempts, len(browser.seen)) == (6, 6)
    assert (await pod.steps("s1", task_id))[-1] == "failed"


async def test_page_that_kills_the_browser_three_times_fails(
    pod: Pod, browser: FakeBrowser
) -> None:
    url = browser.on("https://example.org/", DIED)
    task_id = await pod.add(url, "s1")
    view = await pod.end(task_id)
    assert (view.status, view.attempts) == ("failed", 3)
    assert view.error_message == "the browser died under the page, 3 times"
    assert len(browser.seen) == 3


async def test_tries_and_deaths_are_counted_apart(pod: Pod, browser: FakeBrowser) -> None:
    url = browser.on("https://example.org/", DIED, AWAY, AWAY, DIED, visit_of())
    view = await pod.end(await pod.add(url))
    assert (view.status, view.attempts) == ("completed", 4)


async def test_pages_open_beside_a_death_of_the_browser_are_opened_again_alone(
    pod: Pod, browser: FakeBrowser
) -> None:
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
    await eventually(lambda: len(browser.seen) >= 4)
    gate.set()
    views = [await pod.end(task_id) for task_id in ids]
    assert [view.status for view in views] == [*["completed"] * 3, "failed"]
    assert browser.seen.count(killer) == 3
    again = browser.together[4:]
    assert all(len(pages) == 1 for pages in again)
    assert len(again) == 5


async def test_suspect_of_a_death_has_the_browser_for_itself(
    pod: Pod, browser: FakeBrowser
) -> None:
    seen_again, may_end = asyncio.Event(), asyncio.Event()

    async def again() -> Visit:
        seen_again.set()
        await may_end.wait()
        return visit_of()

    suspect = browser.on("https://example.org/suspect", DIED, again)
    first = await pod.add("https://hold.test/first")
    await pod.until(first, "running")
    second = await pod.add(suspect)

    async def tried() -> bool:
        return bool((await pod.get(second)).attempts)

    await eventually(tried)
    await pod.until(second, "running")
    third = await pod.add("https://example.org/third")
    await asyncio.sleep(0.2)  # time in which it would be tried
    assert not seen_again.is_set()  # a page is open beside which it may not be tried
    browser.hold.set()
    await seen_again.wait()
    await asyncio.sleep(0.2)  # time in which it would be begun
    assert (await pod.get(third)).status == "pending"  # nor may others be begun beside it
    may_end.set()
    for task_id in (first, second, third):
        assert (await pod.end(task_id)).status == "completed"


async def test_full_queue_of_the_browser_is_waited_for_and_not_counted(
    pod: Pod, browser: FakeBrowser
) -> None:
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
async def test_answer_of_no_use_fails_the_task_at_once(
    pod: Pod, browser: FakeBrowser, error: Exception, shown: str
) -> None:
    url = browser.on("https://example.org/", error)
    view = await pod.end(await pod.add(url))
    assert (view.status, view.error_message, len(browser.seen)) == ("failed", shown, 1)


async def test_release_whose_answer_was_lost_leaves_the_next_run_alone(
    pod: Pod, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
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
    await eventually(lambda: lost >= 2)
    await asyncio.sleep(0.1)  # time in which the second answer would stop the run
    assert (await pod.get(task_id)).status == "running"
    assert pod.worker.runner.get(task_id) is not None
    browser.hold.set()
    assert (await pod.end(task_id)).status == "completed"
    assert await pod.steps("s1", task_id) == [*["queued", "started"] * 2, "completed"]


async def test_end_is_stored_after_an_outage_of_the_database(
    pod: Pod, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
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


async def test_pod_that_lost_its_lease_gives_up_storing(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    async def failing(*args: Any) -> Any:
        nonlocal tried
        tried += 1
        raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "gone")

    monkeypatch.setattr(pod.store, "end", failing)
    await pod.add("https://example.org/")
    async with asyncio.timeout(WITHIN):
        await eventually(lambda: tried >= 3)
        pod.pod_id = "pod-1-anew"
        await pod.worker.runner.idle()


async def test_fault_of_this_service_ends_the_task(
    pod: Pod, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = browser.on("https://example.org/", ZeroDivisionError("secret"))
    view = await pod.end(await pod.add(url))
    assert (view.status, view.error_message, len(browser.seen)) == ("failed", "internal_error", 1)
    monkeypatch.setattr(outcomes, "of_visit", lambda *_: 1 / 0)
    view = await pod.end(await pod.add("https://example.org/2"))
    assert (view.status, view.error_message) == ("failed", "internal_error")
