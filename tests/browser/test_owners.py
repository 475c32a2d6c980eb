"""Whole Operators that die with tasks in their hands, and what becomes of these."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from operator_svc import lifecycle
from operator_svc.app import Operator
from operator_svc.models import Caller
from operator_svc.protocol.browser import BrowserTaskRequest, BrowserTaskView
from operator_svc.settings import Settings
from tests.fakes.browsing import TOKEN, Browsing, browsing_at
from tests.fakes.eventually import eventually

ANYBODY = Caller()


@pytest.fixture
async def browsing() -> AsyncIterator[Browsing]:
    async with browsing_at() as made:
        yield made


def settings(url: str, browsing: Browsing, **changes: Any) -> Settings:
    given = {"database_url": url, "browser_url": browsing.url, "browser_token": TOKEN, "token": "t"}
    return Settings(**{**given, "lease_ttl": 1.0, **changes})


async def die(operator: Operator) -> None:
    """End as a process that is killed does: the database hears nothing of it."""
    await operator.services.browser_tasks.abandon()
    await operator.core.tasks.aclose()
    await operator.core.bus.aclose()
    await operator.core.database.aclose()
    assert operator.core.peers.browser is not None
    await operator.core.peers.browser.aclose()


async def until(operator: Operator, task_id: str, status: str) -> BrowserTaskView:
    async def stands_so() -> BrowserTaskView | None:
        view = await operator.services.browser_tasks.get(ANYBODY, task_id)
        return view if view.status == status else None

    found = await eventually(stands_so)
    assert found is not None
    return found


async def running(settings: Settings) -> tuple[Operator, str]:
    """A pod, and the id of a task that it runs."""
    operator = await lifecycle.start(settings)
    asked = BrowserTaskRequest("https://hold.test/", {}, "s1")
    task_id = await operator.services.browser_tasks.add(ANYBODY, asked)
    await until(operator, task_id, "running")
    return operator, task_id


async def test_start_takes_over_tasks_that_a_crash_left(
    sqlite_url: str, browsing: Browsing
) -> None:
    operator, task_id = await running(settings(sqlite_url, browsing))
    await die(operator)
    browsing.hold.set()
    operator = await lifecycle.start(settings(sqlite_url, browsing))
    try:
        assert (await until(operator, task_id, "completed")).attempts == 1
    finally:
        await lifecycle.close(operator)


@pytest.mark.one_bus  # no message tells of a death
async def test_task_of_a_dead_pod_is_taken_over_within_fifteen_seconds(
    postgresql_url: str, browsing: Browsing
) -> None:
    first, task_id = await running(settings(postgresql_url, browsing))
    second = await lifecycle.start(settings(postgresql_url, browsing))
    try:
        await eventually(lambda: browsing.asked)
        await die(first)
        browsing.hold.set()
        # With leases of 1 s instead of 10: their end, a look each third of it, one poll.
        view = await until(second, task_id, "completed")
        assert view.attempts == 1
        events = await second.services.history.events(ANYBODY, "s1", after=0, limit=50)
        assert [event.event.partition(".")[2] for event in events.events] == [
            "created",
            *["queued", "started"] * 2,
            "completed",
        ]
    finally:
        await lifecycle.close(second)
