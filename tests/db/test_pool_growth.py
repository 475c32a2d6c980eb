"""The growth of a pool: who waits for a connection, and who opens another."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc.errors import OperatorError
from tests.db.number_pools import numbered, soon
from tests.fakes.eventually import WITHIN


async def test_those_who_come_while_a_connection_is_opened_share_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operator_svc.db.pool.PATIENCE", WITHIN)

    async def slowly(_number: int) -> None:
        await asyncio.sleep(0.01)  # time in which the others come

    pool, _ = numbered(8, slowly)

    async def caller() -> None:
        connection = await pool.acquire(soon())
        await asyncio.sleep(0)
        pool.release(connection)

    await asyncio.gather(*[caller() for _ in range(20)])
    assert pool.size == 1


async def test_one_who_finds_all_connections_in_use_opens_another_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operator_svc.db.pool.PATIENCE", WITHIN)
    pool, _ = numbered(3)
    assert [await pool.acquire(soon(WITHIN / 2)) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(OperatorError):
        await pool.acquire(soon(0.01))  # there is no place for a fourth
    pool.release(2)
    assert await pool.acquire(soon()) == 2


async def test_one_who_waits_long_for_an_opening_opens_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operator_svc.db.pool.PATIENCE", 0.01)

    async def hang_first(number: int) -> None:
        await asyncio.sleep(60 if number == 1 else 0)  # a server that does not answer

    pool, _ = numbered(2, hang_first)
    hanging = asyncio.create_task(pool.acquire(soon()))
    await asyncio.sleep(0)
    assert await pool.acquire(soon()) == 2
    with pytest.raises(OperatorError):
        await pool.acquire(soon(0.1))  # there is no place for a third
    assert pool.size == 2
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert await pool.acquire(soon()) == 3
