"""The wait of the tests: it gives what came true, and fails with what was there instead."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.eventually import eventually


async def test_a_value_that_becomes_true_is_returned() -> None:
    found: list[int] = []
    asyncio.get_running_loop().call_later(0.05, found.append, 7)
    assert await eventually(lambda: found) == [7]


async def test_a_coroutine_is_awaited_each_time() -> None:
    calls = 0

    async def third() -> int:
        nonlocal calls
        calls += 1
        return calls if calls == 3 else 0

    assert await eventually(third) == 3


async def test_an_assertion_that_fails_is_tried_again() -> None:
    calls = 0

    def second() -> bool:
        nonlocal calls
        calls += 1
        assert calls > 1, "too early"
        return True

    assert await eventually(second)
    assert calls == 2


async def test_what_never_comes_true_fails_with_its_last_value_and_place() -> None:
    found: list[int] = []
    with pytest.raises(
        AssertionError, match=r"not within 0.05 s \(.*test_eventually.py:\d+\): \[\]"
    ):
        await eventually(lambda: found, 0.05)

    def never() -> bool:
        raise AssertionError("still wrong")

    with pytest.raises(AssertionError, match="still wrong"):
        await eventually(never, 0.05)


async def test_another_error_is_not_waited_out() -> None:
    def broken() -> bool:
        raise LookupError("broken")

    with pytest.raises(LookupError):
        await eventually(broken)
