"""Pools whose connections are mere numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from operator_svc.db.pool import Pool
from tests.fakes.eventually import WITHIN


def numbered(
    size: int, connect: Callable[[int], Awaitable[None]] | None = None
) -> tuple[Pool[int], set[int]]:
    """A pool whose connections are 1, 2, 3 …, and the set of those that are dead."""
    made = 0
    dead: set[int] = set()

    async def open_one(_deadline: float) -> int:
        nonlocal made
        made += 1
        number = made
        if connect is not None:
            await connect(number)
        return number

    return Pool(open_one, lambda number: number not in dead, size), dead


def soon(seconds: float = WITHIN) -> float:
    """A deadline."""
    return asyncio.get_running_loop().time() + seconds


def proving(size: int, slow: bool = False) -> tuple[Pool[int], set[int], list[int]]:
    """A pool that asks those in doubt, those that fail, and those that were asked."""
    made = 0
    bad: set[int] = set()
    asked: list[int] = []

    async def open_one(_deadline: float) -> int:
        nonlocal made
        made += 1
        return made

    async def prove(number: int, _deadline: float) -> bool:
        asked.append(number)
        await asyncio.sleep(60 if slow else 0)  # a server that does not answer
        return number not in bad

    return Pool(open_one, lambda _: True, size, prove), bad, asked
