"""Work beside the event loop: what is large is done on one thread, what is small in place. And
periodic work, whose failures are logged."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextvars import ContextVar
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from operator_svc import background
from operator_svc.background import LARGE, aside, forever
from tests.fakes.eventually import eventually

asked_by: ContextVar[str] = ContextVar("asked_by")


async def test_small_work_is_done_in_place() -> None:
    assert await aside(LARGE, threading.get_ident) == threading.get_ident()


async def test_large_work_is_done_on_one_thread_one_after_another() -> None:
    running: set[int] = set()

    def work() -> tuple[int, int]:
        me = threading.get_ident()
        running.add(me)
        return me, len(running)

    done = await asyncio.gather(*(aside(LARGE + 1, work) for _ in range(20)))
    assert {number for _, number in done} == {1}
    assert threading.get_ident() not in running


async def test_large_work_sees_the_context_of_who_asked() -> None:
    asked_by.set("me")
    assert await aside(LARGE + 1, asked_by.get) == "me"


async def test_garbage_is_collected_after_large_work_and_not_during_it() -> None:
    def fail() -> NoReturn:
        raise ValueError("it is broken")

    assert await aside(LARGE + 1, gc.isenabled) is False
    with pytest.raises(ValueError, match="broken"):
        await aside(LARGE + 1, fail)
    assert gc.isenabled()


async def test_a_step_that_goes_on_failing_is_logged_again_after_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, reason = 0, "the disk is full"

    async def fail() -> None:
        nonlocal calls
        calls += 1
        raise OSError(reason)

    async def called(times: int) -> None:
        until = calls + times
        await eventually(lambda: calls >= until)

    with capture_logs() as logs:
        running = asyncio.create_task(forever(fail, 0.001, "tick"))
        await called(20)
        assert [(entry["work"], entry["failures"]) for entry in logs] == [("tick", 1)]
        reason = "the disk is gone"
        await called(20)
        assert len(logs) == 2, "another reason is news"
        assert logs[1]["failures"] >= 20
        assert str(logs[1]["exc_info"]) == reason
        monkeypatch.setattr(background, "REPEAT", 0.0)
        reason = "it is full again"
        await called(20)
        assert len(logs) >= 20
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
