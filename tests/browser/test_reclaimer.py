"""Tasks whose pod died or lost its lease are taken over, once."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc.db import Database
from tests.browser.task_pods import FakeBrowser, MakePod
from tests.fakes.eventually import eventually

pytestmark = pytest.mark.usefixtures("quick")


async def test_task_of_a_dead_pod_is_taken_over_once(
    make_pod: MakePod, browser: FakeBrowser
) -> None:
    first = await make_pod("pod-1")
    task_id = await first.add("https://hold.test/", "s1")
    await eventually(lambda: browser.seen)
    await first.kill()
    others = [await make_pod(f"pod-{n}") for n in (2, 3)]
    await asyncio.gather(*(pod.tasks.reclaimer.sweep() for pod in others))
    await others[0].until(task_id, "running")
    browser.hold.set()
    view = await others[0].end(task_id)
    assert (view.status, view.attempts) == ("completed", 1)
    assert await others[0].steps("s1", task_id) == [*["queued", "started"] * 2, "completed"]
    assert len(browser.seen) == 2


async def test_cancelled_task_of_a_dead_pod_is_not_run_again(make_pod: MakePod) -> None:
    first = await make_pod("pod-1")
    task_id = await first.add("https://hold.test/", "s1")
    await first.until(task_id, "running")
    await first.kill()
    other = await make_pod("pod-2")
    assert await other.store.request_cancel(task_id)
    await other.tasks.reclaimer.sweep()
    assert (await other.get(task_id)).status == "cancelled"
    assert await other.steps("s1", task_id) == ["queued", "started", "cancelled"]


async def test_task_that_outlives_six_pods_fails(make_pod: MakePod) -> None:
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


async def test_pod_that_lost_its_lease_writes_nothing_more(
    make_pod: MakePod, browser: FakeBrowser, database: Database
) -> None:
    first = await make_pod("pod-1")
    task_id = await first.add("https://hold.test/", "s1")
    await eventually(lambda: browser.seen)
    await first.pods.remove("pod-1")
    first.pod_id = "pod-1-anew"
    await first.pods.register(first.pod_id, 30)
    await eventually(lambda: browser.left)  # it stops the page by itself
    await first.worker.runner.idle()
    assert (await first.get(task_id)).status == "running"  # and leaves the task to others
    await first.tasks.reclaimer.sweep()
    browser.hold.set()
    view = await first.end(task_id)
    assert (view.status, view.attempts) == ("completed", 1)
    assert (await first.steps("s1", task_id))[-3:] == ["queued", "started", "completed"]


async def test_claim_whose_answer_was_lost_is_reclaimed_when_seen_twice(make_pod: MakePod) -> None:
    pod = await make_pod(pages=0)
    task_id = await pod.add("https://example.org/", "s1")
    assert await pod.store.claim(pod.pod_id) is not None
    await pod.tasks.reclaimer.sweep()
    assert (await pod.get(task_id)).status == "running"  # it might be about to be run
    await pod.tasks.reclaimer.sweep()
    assert (await pod.get(task_id)).status == "pending"
