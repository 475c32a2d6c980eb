"""Answers that are kept for a moment, and asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from operator_svc.background import TaskOwner
from operator_svc.services.ttl_cache import TtlCache
from tests.fakes.clock import Clock


class Source:
    """Counts how often it is asked; answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.free = asyncio.Event()
        self.error: Exception | None = None

    async def ask(self) -> int:
        self.asked += 1
        number = self.asked
        await self.free.wait()
        if self.error is not None:
            raise self.error
        return number


@pytest.fixture
async def tasks() -> AsyncIterator[TaskOwner]:
    async with TaskOwner("tests") as owner:
        yield owner


async def test_a_thousand_who_wait_are_one_question(tasks: TaskOwner) -> None:
    source, clock = Source(), Clock()
    cached = TtlCache(source.ask, tasks, ttl=2.0, clock=clock)
    waiting = [asyncio.ensure_future(cached.get()) for _ in range(1000)]
    await asyncio.sleep(0)
    source.free.set()
    assert {tuple(fresh) for fresh in await asyncio.gather(*waiting)} == {(1, 0.0)}
    clock.now += 1.5
    assert tuple(await cached.get()) == (1, 1.5)
    assert source.asked == 1
    clock.now += 0.6
    assert tuple(await cached.get()) == (2, 0.0)


async def test_one_who_leaves_does_not_end_it_for_others(tasks: TaskOwner) -> None:
    source = Source()
    cached = TtlCache(source.ask, tasks)
    impatient = asyncio.ensure_future(cached.get())
    patient = asyncio.ensure_future(cached.get())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    source.free.set()
    assert (await patient).value == 1
    assert (await cached.get()).value == 1


async def test_a_failure_is_told_to_all_and_not_kept(tasks: TaskOwner) -> None:
    source = Source()
    source.error = ValueError("no")
    source.free.set()
    cached = TtlCache(source.ask, tasks)
    results = await asyncio.gather(cached.get(), cached.get(), return_exceptions=True)
    assert [repr(result) for result in results] == ["ValueError('no')"] * 2
    source.error = None
    assert (await cached.get()).value == 2


async def test_what_was_asked_before_it_was_to_be_forgotten_is_not_kept(tasks: TaskOwner) -> None:
    source = Source()
    cached = TtlCache(source.ask, tasks)
    early = asyncio.ensure_future(cached.get())
    await asyncio.sleep(0)
    cached.forget()
    late = asyncio.ensure_future(cached.get())
    await asyncio.sleep(0)
    source.free.set()
    assert ((await early).value, (await late).value) == (1, 2)
    assert (await cached.get()).value == 2
    cached.forget()
    assert (await cached.get()).value == 3


async def test_the_end_of_its_owner_ends_those_who_wait() -> None:
    source = Source()
    async with TaskOwner("tests") as owner:
        waiting = asyncio.ensure_future(TtlCache(source.ask, owner).get())
        await asyncio.sleep(0)
    await asyncio.wait([waiting])
    assert waiting.cancelled()
