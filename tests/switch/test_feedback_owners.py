"""Feedback of several pods, and of those that are killed, close, or lose their lease."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc.db import Database, connect
from operator_svc.settings import Settings
from operator_svc.stores.pods import PodStore
from tests.fakes.eventually import eventually
from tests.fakes.records import FakeSwitch, Outage, Pod, die, pods
from tests.switch.forwarding import give, outbox, told


async def test_several_pods_forward_each_row_once_and_in_order(
    database: Database, switch: FakeSwitch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2", "pod-3") as three:
        await asyncio.gather(*[give(three[0], "abcd"[n % 4], n) for n in range(60)])
        order = {
            engine: [tokens for name, tokens, _, _ in await outbox(three[0]) if name == engine]
            for engine in "abcd"
        }
        while await outbox(three[0]):
            await asyncio.gather(*[pod.outbox.forward() for pod in three])
    assert {engine: told(switch, engine) for engine in "abcd"} == order


async def test_row_of_a_pod_killed_between_call_and_mark_is_forwarded_twice(
    database: Database, switch: FakeSwitch
) -> None:
    """The only case in which Switch is told twice; nothing is lost, and the order stays."""
    async with pods(database, switch, "pod-1", "pod-2") as (dead, alive):
        for n in range(4):
            await give(dead, "a", n)

        def killed() -> None:
            raise asyncio.CancelledError

        switch.after["record_result"] = [None, killed]
        with pytest.raises(asyncio.CancelledError):
            await dead.outbox.forward()
        assert told(switch, "a") == [0, 1]
        await alive.outbox.forward()
        await alive.outbox.release_orphaned()
        await alive.outbox.forward()
        assert told(switch, "a") == [0, 1], "as long as its lease holds, it may be alive"
        await die(dead)
        await alive.outbox.release_orphaned()
        await alive.outbox.forward()
        assert told(switch, "a") == [0, 1, 1, 2, 3]


async def test_claim_left_by_a_crash_is_released_at_the_next_start(
    sqlite_url: str, switch: FakeSwitch
) -> None:
    """On SQLite the next process knows that the one before it is gone."""
    opened = await connect(Settings(database_url=sqlite_url))
    async with pods(opened, switch, "first") as (first,):
        for n in range(3):
            await give(first, "a", n)
        assert await first.feedback_store.claim(
            (await first.feedback_store.heads("first"))[0], "first"
        )
    await opened.aclose()
    opened = await connect(Settings(database_url=sqlite_url))
    await PodStore(opened).register("second", 10)
    second = Pod(opened, switch, "second")
    await second.outbox.release_orphaned()
    await second.outbox.forward()
    await second.tasks.aclose()
    await opened.aclose()
    assert told(switch, "a") == [0, 1, 2]


async def test_close_waits_for_the_call_under_way(local: Pod, switch: FakeSwitch) -> None:
    for n in range(3):
        await give(local, "a", n)
    switch.gate.clear()
    forwarding = asyncio.ensure_future(local.outbox.forward())
    await eventually(lambda: switch.calls)
    closing = asyncio.ensure_future(local.outbox.close(5.0))
    await asyncio.wait([closing], timeout=0.05)
    assert not closing.done()
    switch.gate.set()
    await asyncio.gather(closing, forwarding)
    assert told(switch, "a") == [0]
    assert await outbox(local) == [("a", 1, 0, "waits"), ("a", 2, 0, "waits")]
    await local.outbox.forward()
    assert told(switch, "a") == [0]


async def test_close_waits_no_longer_than_allowed(local: Pod, switch: FakeSwitch) -> None:
    await give(local, "a")
    switch.gate.clear()
    forwarding = asyncio.ensure_future(local.outbox.forward())
    await eventually(lambda: switch.calls)
    await local.outbox.close(0.05)
    assert not forwarding.done()
    forwarding.cancel()
    await asyncio.wait([forwarding])


async def test_mark_is_stored_after_an_outage_of_the_database(
    local: Pod, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        await give(local, "a", n)
    write = Outage(local.feedback_store.settle)
    monkeypatch.setattr(local.feedback_store, "settle", write)
    await local.outbox.forward()
    await local.outbox.forward()
    assert told(switch, "a") == [0, 1], "once each"
    assert await outbox(local) == []


async def test_pod_that_loses_its_lease_claims_no_more(local: Pod, switch: FakeSwitch) -> None:
    for n in range(3):
        await give(local, "a", n)

    def lost() -> None:
        local.pod_id = "another"

    switch.after["record_result"] = [lost]
    await local.outbox.forward()
    assert told(switch, "a") == [0]
