"""Adjustments at once, on one pod and on several, and through the death of a pod."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import SwitchAdjustment
from tests.fakes.eventually import eventually
from tests.fakes.records import ANYBODY, FakeSwitch, Outage, Pod, die, lease, pods
from tests.fakes.switch_faults import Fault, late
from tests.switch.applying import Counted, begun, failure, recorded, stored


async def test_several_applies_at_once_change_switch_once(pod: Pod, switch: FakeSwitch) -> None:
    row = await recorded(pod, {"mode": "ECO"})
    answers = await asyncio.gather(*[pod.adjustments.apply(ANYBODY, row.id) for _ in range(5)])
    assert switch.changes == [("set_mode", "ECO")]
    assert len({answer.applied_at for answer in answers}) == 1


async def test_several_applies_at_once_get_the_same_failure(
    local: Pod, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await recorded(local, {"mode": "ECO"})
    switch.faults["set_mode"] = [late]
    applies = [await begun(switch, failure(local, row))]
    reads = Counted(local.adjustment_store.get)
    monkeypatch.setattr(local.adjustment_store, "get", reads)
    applies += [asyncio.ensure_future(failure(local, row)) for _ in range(4)]
    await eventually(lambda: reads.calls == 4)
    switch.gate.set()
    errors = await asyncio.gather(*applies)
    assert {(error.code, error.detail) for error in errors} == {
        (ErrorCode.SWITCH_TIMEOUT, errors[0].detail)
    }
    assert switch.changes == [("set_mode", "ECO")]


async def test_apply_and_revert_at_once_run_one_after_the_other(
    local: Pod, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await recorded(local, {"mode": "ECO"})
    applying = await begun(switch, local.adjustments.apply(ANYBODY, row.id))
    reads = Counted(local.adjustment_store.get)
    monkeypatch.setattr(local.adjustment_store, "get", reads)
    reverting = asyncio.ensure_future(local.adjustments.revert(ANYBODY, row.id))
    await eventually(lambda: reads.calls)
    switch.gate.set()
    assert (await applying).applied
    assert not (await reverting).applied
    assert switch.changes == [("set_mode", "ECO"), ("set_mode", "BALANCED")]


async def test_apply_goes_on_when_its_client_leaves(local: Pod, switch: FakeSwitch) -> None:
    row = await recorded(local, {"mode": "ECO", "default_model": "large"})
    impatient = await begun(switch, local.adjustments.apply(ANYBODY, row.id))
    impatient.cancel()
    await asyncio.wait([impatient])
    switch.gate.set()
    assert (await local.adjustments.apply(ANYBODY, row.id)).applied
    assert switch.changes == [("set_mode", "ECO"), ("set_default_model", "large")]


@pytest.mark.parametrize("fault", [None, late])
async def test_applies_on_several_pods_change_switch_once(
    database: Database, switch: FakeSwitch, fault: Fault | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2", "pod-3") as three:
        row = await recorded(three[0], {"mode": "ECO"})
        switch.faults["set_mode"] = [fault]
        answers = [await begun(switch, three[0].adjustments.apply(ANYBODY, row.id))]
        looks = [Counted(pod.adjustment_store.in_progress) for pod in three[1:]]
        for pod, look in zip(three[1:], looks, strict=True):
            monkeypatch.setattr(pod.adjustment_store, "in_progress", look)
            answers.append(asyncio.ensure_future(pod.adjustments.apply(ANYBODY, row.id)))
        await eventually(lambda: all(look.calls for look in looks))
        switch.gate.set()
        done = await asyncio.gather(*answers, return_exceptions=True)
    assert switch.changes == [("set_mode", "ECO")]
    if fault is None:
        assert {answer.applied for answer in done if isinstance(answer, SwitchAdjustment)} == {True}
    else:
        codes = [error.code for error in done if isinstance(error, OperatorError)]
        assert codes == [ErrorCode.SWITCH_TIMEOUT] * 3


async def test_failure_stored_between_two_looks_of_another_pod_is_not_tried_again(
    database: Database, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2") as (one, other):
        row = await recorded(one, {"mode": "ECO"})
        switch.faults["set_mode"] = [late]
        applying = await begun(switch, failure(one, row))
        in_progress, looks = other.adjustment_store.in_progress, 0

        async def slow() -> Any:
            nonlocal looks
            looks += 1
            if looks == 2:
                switch.gate.set()
                await asyncio.wait([applying])
            return await in_progress()

        monkeypatch.setattr(other.adjustment_store, "in_progress", slow)
        assert (await failure(other, row)).code is ErrorCode.SWITCH_TIMEOUT
        assert (await applying).code is ErrorCode.SWITCH_TIMEOUT
    assert switch.changes == [("set_mode", "ECO")]


async def test_adjustments_of_several_pods_do_not_mix(
    database: Database, switch: FakeSwitch
) -> None:
    """Each reads Switch back before the next one begins, or some would see the others'."""
    modes = ["ECO", "HIGH-PERF", "CRITICAL", "BALANCED"] * 2
    async with pods(database, switch, "pod-1", "pod-2", "pod-3") as three:
        rows = [await recorded(three[0], {"mode": mode}) for mode in modes]
        done = await asyncio.gather(
            *[three[n % 3].adjustments.apply(ANYBODY, row.id) for n, row in enumerate(rows)]
        )
    assert all(row.applied and row.error is None for row in done)
    calls = [call[0] for call in switch.calls][len(modes) :]
    assert calls == ["context", "set_mode", "context"] * len(modes)


async def test_claim_of_a_dead_pod_is_released_and_the_adjustment_applied(
    database: Database, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2") as (dead, alive):
        row = await recorded(dead, {"mode": "ECO"})
        abandoned = await begun(switch, dead.adjustments.apply(ANYBODY, row.id))
        await die(dead)
        await asyncio.wait([abandoned])
        assert (await stored(alive, row)).owner == "pod-1"
        switch.gate.set()
        looks = Counted(alive.adjustment_store.in_progress)
        monkeypatch.setattr(alive.adjustment_store, "in_progress", looks)
        waiting = asyncio.ensure_future(alive.adjustments.apply(ANYBODY, row.id))
        await eventually(lambda: looks.calls >= 3)
        assert not waiting.done(), "until it is sure that the other one is dead"
        await alive.adjustments.release_orphaned()
        assert (await waiting).applied
        assert (await stored(alive, row)).owner is None


async def test_claim_of_a_living_pod_is_not_released(
    database: Database, switch: FakeSwitch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2") as (one, other):
        row = await recorded(one, {"mode": "ECO"})
        assert await one.adjustment_store.claim(row.id, "pod-1", applied=False) is not None
        await other.adjustments.release_orphaned()
        assert (await stored(one, row)).owner == "pod-1"


async def test_forgotten_claim_of_the_same_pod_does_not_block_it(
    pod: Pod, switch: FakeSwitch
) -> None:
    row = await recorded(pod, {"mode": "ECO"})
    assert await pod.adjustment_store.claim(row.id, pod.pod_id, applied=False) is not None
    assert (await pod.adjustments.apply(ANYBODY, row.id)).applied


async def lose_claim(pod: Pod, adjustment: SwitchAdjustment, patch: pytest.MonkeyPatch) -> None:
    """An attempt of ``pod`` whose claim is stored and its answer lost."""
    write = Outage(pod.adjustment_store.claim)
    write.tries = 1
    with patch.context() as patched:
        patched.setattr(pod.adjustment_store, "claim", write)
        assert (await failure(pod, adjustment)).code is ErrorCode.DATABASE_UNAVAILABLE
    assert (await stored(pod, adjustment)).owner == pod.pod_id


async def test_claim_whose_answer_was_lost_is_released_by_its_pod(
    database: Database, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2") as (one, other):
        row, next_one = [await recorded(one, {"mode": mode}) for mode in ("ECO", "CRITICAL")]
        await lose_claim(one, row, monkeypatch)
        await one.adjustments.release_orphaned()
        assert (await other.adjustments.apply(ANYBODY, next_one.id)).applied


async def test_claim_that_a_pod_works_on_is_not_released_by_itself(
    pod: Pod, switch: FakeSwitch
) -> None:
    row = await recorded(pod, {"mode": "ECO"})
    applying = await begun(switch, pod.adjustments.apply(ANYBODY, row.id))
    await pod.adjustments.release_orphaned()
    assert (await stored(pod, row)).owner == pod.pod_id
    switch.gate.set()
    assert (await applying).applied


async def test_pods_that_forgot_a_claim_each_do_not_wait_for_each_other(
    database: Database, switch: FakeSwitch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2") as both:
        rows = [await recorded(both[0], {"mode": mode}) for mode in ("ECO", "CRITICAL")]
        for pod, row in zip(both, rows, strict=True):
            assert await pod.adjustment_store.claim(row.id, pod.pod_id, applied=False) is not None
        applies = [
            pod.adjustments.apply(ANYBODY, row.id) for pod, row in zip(both, rows, strict=True)
        ]
        assert all(row.applied for row in await asyncio.gather(*applies))


async def test_pod_that_loses_its_lease_stops_at_the_next_step(
    database: Database, switch: FakeSwitch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2") as (one, other):
        row = await recorded(one, {"mode": "ECO", "default_model": "large"})
        applying = await begun(switch, failure(one, row))
        one.pod_id = "pod-1b"
        switch.gate.set()
        assert (await applying).code is ErrorCode.CONFLICT
        assert switch.changes == [], "it stopped at the next step"
        async with database.transaction() as tx:
            await tx.execute("DELETE FROM operator_pod WHERE pod_id = 'pod-1'")
        await other.adjustments.release_orphaned()
        assert (await other.adjustments.apply(ANYBODY, row.id)).applied


async def test_outcome_is_stored_after_an_outage_of_the_database(
    local: Pod, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await recorded(local, {"mode": "ECO"})
    write = Outage(local.adjustment_store.finish)
    monkeypatch.setattr(local.adjustment_store, "finish", write)
    applied = await local.adjustments.apply(ANYBODY, row.id)
    assert (applied.applied, write.tries) == (True, 3)
    assert switch.changes == [("set_mode", "ECO")]


async def test_adjustment_of_a_session_deleted_meanwhile_is_not_found(
    pod: Pod, switch: FakeSwitch
) -> None:
    await pod.chat()
    row = await recorded(pod, {"mode": "ECO"}, session_id="s-1")
    applying = await begun(switch, failure(pod, row))
    async with pod.database.transaction() as tx:
        await tx.execute("DELETE FROM operator_session")
    switch.gate.set()
    assert (await applying).code is ErrorCode.ADJUSTMENT_NOT_FOUND


async def test_claim_under_a_lease_that_ran_out_is_released(
    database: Database, switch: FakeSwitch
) -> None:
    async with pods(database, switch) as (pod,):
        await lease(database, "paused", -1)
        row = await recorded(pod, {"mode": "ECO"})
        assert await pod.adjustment_store.claim(row.id, "paused", applied=False) is not None
        await pod.adjustments.release_orphaned()
        assert (await stored(pod, row)).owner is None
