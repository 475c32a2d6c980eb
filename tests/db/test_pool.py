"""The pool by itself, with connections that are mere numbers."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from tests.db.number_pools import numbered, proving, soon
from tests.fakes.eventually import WITHIN


async def test_connections_are_opened_only_when_they_are_needed() -> None:
    pool, _ = numbered(2)
    for _ in range(3):
        assert await pool.acquire(soon()) == 1
        pool.release(1)
    assert [await pool.acquire(soon()), await pool.acquire(soon())] == [1, 2]
    assert pool.size == 2


async def test_waiting_ends_at_the_deadline() -> None:
    pool, _ = numbered(1)
    await pool.acquire(soon())
    started = asyncio.get_running_loop().time()
    with pytest.raises(OperatorError) as caught:
        await pool.acquire(soon(0.1))
    assert 0.05 < asyncio.get_running_loop().time() - started < 10
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    pool.release(1)
    assert await pool.acquire(soon()) == 1


async def test_those_who_wait_are_served_in_their_order() -> None:
    pool, _ = numbered(1)
    await pool.acquire(soon())
    served: list[int] = []

    async def caller(i: int) -> None:
        connection = await pool.acquire(soon())
        served.append(i)
        await asyncio.sleep(0)
        pool.release(connection)

    tasks = [asyncio.create_task(caller(i)) for i in range(5)]
    await asyncio.sleep(0)
    pool.release(1)
    await asyncio.gather(*tasks)
    assert served == [0, 1, 2, 3, 4]
    assert pool.size == 1


async def test_a_dead_connection_is_replaced() -> None:
    pool, dead = numbered(2)
    assert await pool.acquire(soon()) == 1
    pool.release(1)
    dead.add(1)
    assert await pool.acquire(soon()) == 2
    assert pool.size == 1


async def test_a_discarded_connection_makes_room_for_one_who_waits() -> None:
    pool, _ = numbered(1)
    await pool.acquire(soon())
    waiter = asyncio.create_task(pool.acquire(soon()))
    await asyncio.sleep(0)
    pool.discard()
    assert await waiter == 2
    assert pool.size == 1


@pytest.mark.parametrize("handed", ["connection", "place"])
async def test_one_who_is_cancelled_when_served_passes_it_on(handed: str) -> None:
    pool, _ = numbered(1)
    await pool.acquire(soon())
    first = asyncio.create_task(pool.acquire(soon()))
    second = asyncio.create_task(pool.acquire(soon()))
    await asyncio.sleep(0)
    if handed == "connection":
        pool.release(1)
    else:
        pool.discard()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == (1 if handed == "connection" else 2)
    assert pool.size == 1


async def test_a_cancelled_waiter_is_passed_over() -> None:
    pool, _ = numbered(1)
    await pool.acquire(soon())
    first = asyncio.create_task(pool.acquire(soon()))
    second = asyncio.create_task(pool.acquire(soon()))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    pool.release(1)
    assert await second == 1


@pytest.mark.parametrize("size", [1, 2])
async def test_a_failed_connect_leaves_its_place_to_one_who_waits(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_svc.db.pool.PATIENCE", WITHIN)

    async def refuse_first(number: int) -> None:
        await asyncio.sleep(0)
        if number == 1:
            raise ConnectionRefusedError

    pool, _ = numbered(size, refuse_first)
    first = asyncio.create_task(pool.acquire(soon()))
    second = asyncio.create_task(pool.acquire(soon()))
    with pytest.raises(ConnectionRefusedError):
        await first
    assert await second == 2
    assert pool.size == 1


async def test_a_cancelled_connect_keeps_no_place() -> None:
    async def hang_first(number: int) -> None:
        await asyncio.sleep(60 if number == 1 else 0)  # a server that does not answer

    pool, _ = numbered(1, hang_first)
    first = asyncio.create_task(pool.acquire(soon()))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert pool.size == 0
    assert await pool.acquire(soon()) == 2


async def test_draining_waits_for_what_is_out_and_refuses_the_rest() -> None:
    pool, _ = numbered(2)
    assert [await pool.acquire(soon()), await pool.acquire(soon())] == [1, 2]
    waiter = asyncio.create_task(pool.acquire(soon()))
    await asyncio.sleep(0)
    draining = asyncio.create_task(pool.drain(WITHIN))
    with pytest.raises(OperatorError):
        await waiter
    pool.release(1)
    await asyncio.sleep(0.05)  # time in which it would end
    assert not draining.done()
    pool.release(2)
    assert sorted(await draining) == [1, 2]
    with pytest.raises(OperatorError):
        await pool.acquire(soon())


async def test_draining_does_not_wait_for_ever() -> None:
    pool, _ = numbered(1)
    await pool.acquire(soon())
    async with asyncio.timeout(WITHIN):
        assert await pool.drain(0.1) == []


async def test_a_connection_opened_while_draining_is_closed_with_the_rest() -> None:
    opening = asyncio.Event()

    async def wait(_number: int) -> None:
        await opening.wait()

    pool, _ = numbered(1, wait)
    late = asyncio.create_task(pool.acquire(soon()))
    await asyncio.sleep(0)
    draining = asyncio.create_task(pool.drain(WITHIN))
    await asyncio.sleep(0)
    opening.set()
    with pytest.raises(OperatorError):
        await late
    assert await draining == [1]


async def test_a_doubted_connection_proves_itself_once() -> None:
    pool, _, asked = proving(2)
    for number in [await pool.acquire(soon()), await pool.acquire(soon())]:
        pool.release(number)
    pool.doubt()
    for _ in range(2):
        assert await pool.acquire(soon()) == 2
        pool.release(2)
    assert asked == [2]
    assert [await pool.acquire(soon()), await pool.acquire(soon())] == [2, 1]
    assert asked == [2, 1]


async def test_a_connection_that_fails_its_proof_is_replaced() -> None:
    pool, bad, _ = proving(1)
    pool.release(await pool.acquire(soon()))
    pool.doubt()
    bad.add(1)
    assert await pool.acquire(soon()) == 2
    assert pool.size == 1


async def test_a_connection_in_use_while_others_are_doubted_has_proved_itself() -> None:
    pool, _, asked = proving(1)
    number = await pool.acquire(soon())
    pool.doubt()
    await asyncio.sleep(0.001)  # a later moment of the clock
    pool.release(number)
    assert await pool.acquire(soon()) == number
    assert asked == []


async def test_a_connection_unused_for_long_proves_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operator_svc.db.pool.FRESH_SECONDS", 3600.0)
    pool, _, asked = proving(1)
    pool.release(await pool.acquire(soon()))
    pool.release(await pool.acquire(soon()))
    assert asked == []
    monkeypatch.setattr("operator_svc.db.pool.FRESH_SECONDS", 0.0)
    assert await pool.acquire(soon()) == 1
    assert asked == [1]


async def test_a_cancelled_proof_keeps_no_place() -> None:
    pool, _, asked = proving(1, slow=True)
    pool.release(await pool.acquire(soon()))
    pool.doubt()
    taking = asyncio.create_task(pool.acquire(soon()))
    await asyncio.sleep(0)
    assert asked == [1]
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert pool.size == 0
    assert await pool.acquire(soon()) == 2
