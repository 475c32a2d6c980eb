"""Changes of Switch: done once, confirmed, undone where they fail, and never left half-way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, SwitchAdjustment
from operator_svc.protocol.switch import AdjustmentBody
from operator_svc.services.switch import adjustments
from tests.fakes.records import (
    ANYBODY,
    FakeSwitch,
    Fault,
    Pod,
    broken,
    die,
    late,
    lease,
    pods,
    refused,
    unreachable,
)

BEFORE = ("BALANCED", "small", None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adjustments, "POLL_INTERVAL", 0.02)


class Counted:
    """A read that counts how often it came back."""

    def __init__(self, read: Any) -> None:
        self._read = read
        self.calls = 0

    async def __call__(self) -> Any:
        found = await self._read()
        self.calls += 1
        return found


async def recorded(pod: Pod, after: dict[str, Any], **fields: Any) -> SwitchAdjustment:
    body = AdjustmentBody(**{"after_config": after, "reason": "why", **fields})
    return await pod.adjustments.record(ANYBODY, body)


async def failure(pod: Pod, adjustment: SwitchAdjustment, *, revert: bool = False) -> OperatorError:
    with pytest.raises(OperatorError) as caught:
        await (pod.adjustments.revert if revert else pod.adjustments.apply)(ANYBODY, adjustment.id)
    return caught.value


async def stored(pod: Pod, adjustment: SwitchAdjustment) -> SwitchAdjustment:
    row = await pod.adjustment_store.get(adjustment.id)
    assert row is not None
    return row


async def test_recording_an_adjustment_leaves_switch_alone(pod: Pod, switch: FakeSwitch) -> None:
    row = await recorded(pod, {"mode": "ECO", "note": [1]}, before_config={"mode": "CRITICAL"})
    assert (row.before_config, row.after_config) == (
        {"mode": "CRITICAL"}, {"mode": "ECO", "note": [1]},
    )  # fmt: skip
    assert (row.applied, row.applied_at, row.error, switch.calls) == (False, None, None, [])


async def test_missing_before_config_is_read_from_switch(pod: Pod, switch: FakeSwitch) -> None:
    row = await recorded(pod, {"mode": "ECO"})
    assert row.before_config == {
        "mode": "BALANCED", "default_model": "small", "preload_model": None,
    }  # fmt: skip
    assert switch.config == BEFORE


@pytest.mark.parametrize(
    ("fault", "code"),
    [(unreachable, "switch_unavailable"), (late, "switch_timeout"), (broken, "switch_error")],
)
async def test_before_config_that_cannot_be_read_prevents_recording(
    local: Pod, switch: FakeSwitch, fault: Fault, code: str
) -> None:
    switch.faults["context"] = [fault]
    with pytest.raises(OperatorError) as caught:
        await recorded(local, {"mode": "ECO"})
    assert caught.value.code == code
    page = await local.adjustments.page(
        ANYBODY, session_id=None, applied=None, limit=9, cursor=None
    )
    assert page.adjustments == []


async def test_apply_revert_and_apply_again_change_switch_each_time(
    pod: Pod, switch: FakeSwitch
) -> None:
    await pod.chat()
    row = await recorded(
        pod, {"mode": "ECO", "default_model": "large", "preload_model": "huge"}, session_id="s-1"
    )
    applied = await pod.adjustments.apply(ANYBODY, row.id)
    assert switch.config == ("ECO", "large", "huge")
    assert switch.changes == [
        ("set_mode", "ECO"), ("set_default_model", "large"), ("preload_model", "huge"),
    ]  # fmt: skip
    assert applied.applied
    assert applied.applied_at is not None
    assert await pod.adjustments.apply(ANYBODY, row.id) == await stored(pod, row), (
        "it is so already"
    )
    reverted = await pod.adjustments.revert(ANYBODY, row.id)
    assert (reverted.applied, reverted.applied_at) == (False, applied.applied_at)
    assert reverted.reverted_at is not None
    assert switch.config == ("BALANCED", "small", "huge"), "Switch has no unload"
    assert await pod.adjustments.revert(ANYBODY, row.id) == await stored(pod, row)
    assert len(switch.changes) == 5
    again = await pod.adjustments.apply(ANYBODY, row.id)
    assert (again.applied, again.reverted_at) == (True, None)
    assert [event.event for event in await pod.log()] == [
        "switch_adjustment.recorded", "switch_adjustment.applied", "switch_adjustment.reverted",
        "switch_adjustment.applied",
    ]  # fmt: skip


async def test_revert_restores_only_the_keys_that_the_adjustment_names(
    local: Pod, switch: FakeSwitch
) -> None:
    row = await recorded(local, {"mode": "ECO"})
    await local.adjustments.apply(ANYBODY, row.id)
    switch.active = "huge"  # somebody else's change, meanwhile
    await local.adjustments.revert(ANYBODY, row.id)
    assert switch.config == ("BALANCED", "huge", None)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ({}, {"note": 1}, "apply"),
        ({}, {}, "apply"),
        ({"mode": "ECO"}, {"mode": None}, "apply"),
        ({"preload_model": "small"}, {"preload_model": "large"}, "revert"),
        ({"default_model": "small"}, {"mode": "ECO"}, "revert"),
        ({"mode": None}, {"mode": "ECO"}, "revert"),
    ],
)
async def test_adjustment_that_cannot_be_done_is_a_conflict(
    local: Pod, switch: FakeSwitch, before: dict[str, Any], after: dict[str, Any], what: str
) -> None:
    row = await recorded(local, after, before_config=before)
    if what == "revert":
        assert (await local.adjustments.apply(ANYBODY, row.id)).applied
        switch.calls.clear()
    error = await failure(local, row, revert=what == "revert")
    assert error.code is ErrorCode.CONFLICT
    assert switch.calls == []
    assert (await stored(local, row)).error is None


async def test_revert_of_an_adjustment_that_was_never_applied_is_a_conflict(local: Pod) -> None:
    row = await recorded(local, {"mode": "ECO"})
    assert (await failure(local, row, revert=True)).code is ErrorCode.CONFLICT


@pytest.mark.parametrize("step", ["context", "set_mode", "set_default_model", "preload_model"])
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (unreachable, "switch_unavailable"),
        (late, "switch_timeout"),
        (broken, "switch_error"),
        (refused(404), "switch_error"),
        (refused(200), "switch_error"),
    ],
    ids=["unreachable", "late", "broken", "404", "status error"],
)
async def test_failed_apply_is_undone_stored_and_published(
    local: Pod, switch: FakeSwitch, step: str, fault: Fault, code: str
) -> None:
    await local.chat()
    row = await recorded(
        local, {"mode": "ECO", "default_model": "large", "preload_model": "huge"}, session_id="s-1"
    )
    switch.faults[step] = [fault]
    error = await failure(local, row)
    assert error.code == code
    assert switch.config == BEFORE
    now = await stored(local, row)
    assert (now.applied, now.applied_at, now.owner) == (False, None, None)
    assert now.error is not None
    assert now.error.startswith(f"{code}: ")
    assert now.error.endswith(error.detail)
    assert error.extra["adjustment"].error == now.error
    assert error.extra["applied"] is False
    event = (await local.log())[-1]
    assert (event.event, event.data["error"]) == ("switch_adjustment.failed", now.error)
    assert (await local.adjustments.apply(ANYBODY, row.id)).error is None, "it may be tried again"


@pytest.mark.parametrize("step", ["set_mode", "set_default_model"])
async def test_call_that_took_effect_though_it_seemed_to_fail_is_undone(
    local: Pod, switch: FakeSwitch, step: str
) -> None:
    row = await recorded(local, {"mode": "ECO", "default_model": "large"})
    switch.after[step] = [late]
    assert (await failure(local, row)).code is ErrorCode.SWITCH_TIMEOUT
    assert switch.config == BEFORE


async def test_setting_that_switch_accepts_and_ignores_is_a_failure(
    local: Pod, switch: FakeSwitch
) -> None:
    row = await recorded(local, {"mode": "ECO", "default_model": "large"})
    switch.lies = True
    error = await failure(local, row)
    assert error.code is ErrorCode.SWITCH_ERROR
    assert "mode and default_model did not become so" in error.detail
    assert not (await stored(local, row)).applied


async def test_failed_confirmation_is_a_failure(local: Pod, switch: FakeSwitch) -> None:
    row = await recorded(local, {"mode": "ECO"})
    switch.faults["context"] = [None, late]
    assert (await failure(local, row)).code is ErrorCode.SWITCH_TIMEOUT
    assert switch.config == BEFORE


async def test_setting_that_could_not_be_undone_is_named(local: Pod, switch: FakeSwitch) -> None:
    row = await recorded(local, {"mode": "ECO", "default_model": "large"})
    switch.faults |= {"set_default_model": [unreachable], "set_mode": [None, unreachable]}
    error = await failure(local, row)
    assert error.code is ErrorCode.SWITCH_UNAVAILABLE
    assert "default_model and mode is as before is not known" in error.detail
    assert (await stored(local, row)).error == f"switch_unavailable: {error.detail}"
    assert switch.config == ("ECO", "small", None)


async def test_model_that_stays_loaded_after_a_failure_is_named(
    local: Pod, switch: FakeSwitch
) -> None:
    row = await recorded(local, {"preload_model": "huge"})
    switch.faults["context"] = [None, late]
    assert "preload_model could not be put back" in (await failure(local, row)).detail


async def test_failed_revert_leaves_the_adjustment_applied(pod: Pod, switch: FakeSwitch) -> None:
    row = await recorded(pod, {"mode": "ECO"})
    await pod.adjustments.apply(ANYBODY, row.id)
    switch.faults["set_mode"] = [unreachable]
    error = await failure(pod, row, revert=True)
    assert error.code is ErrorCode.SWITCH_UNAVAILABLE
    now = await stored(pod, row)
    assert now.applied
    assert now.reverted_at is None
    assert now.error == f"switch_unavailable: {error.detail}"
    assert switch.config == ("ECO", "small", None)


async def test_several_applies_at_once_change_switch_once(pod: Pod, switch: FakeSwitch) -> None:
    row = await recorded(pod, {"mode": "ECO"})
    answers = await asyncio.gather(*[pod.adjustments.apply(ANYBODY, row.id) for _ in range(5)])
    assert switch.changes == [("set_mode", "ECO")]
    assert len({answer.applied_at for answer in answers}) == 1


async def test_several_applies_at_once_get_the_same_failure(local: Pod, switch: FakeSwitch) -> None:
    row = await recorded(local, {"mode": "ECO"})
    switch.faults["set_mode"] = [late]
    errors = await asyncio.gather(*[failure(local, row) for _ in range(5)])
    assert {(error.code, error.detail) for error in errors} == {
        (ErrorCode.SWITCH_TIMEOUT, errors[0].detail)
    }
    assert switch.changes == [("set_mode", "ECO")]


async def test_apply_and_revert_at_once_run_one_after_the_other(
    local: Pod, switch: FakeSwitch
) -> None:
    row = await recorded(local, {"mode": "ECO"})
    switch.gate.clear()
    applying = asyncio.ensure_future(local.adjustments.apply(ANYBODY, row.id))
    await asyncio.sleep(0.05)
    reverting = asyncio.ensure_future(local.adjustments.revert(ANYBODY, row.id))
    await asyncio.sleep(0.05)
    switch.gate.set()
    assert (await applying).applied
    assert not (await reverting).applied
    assert switch.changes == [("set_mode", "ECO"), ("set_mode", "BALANCED")]


async def test_apply_goes_on_when_its_client_leaves(local: Pod, switch: FakeSwitch) -> None:
    row = await recorded(local, {"mode": "ECO", "default_model": "large"})
    switch.gate.clear()
    impatient = asyncio.ensure_future(local.adjustments.apply(ANYBODY, row.id))
    await asyncio.sleep(0.05)
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
        switch.gate.clear()
        switch.faults["set_mode"] = [fault]
        answers = [asyncio.ensure_future(three[0].adjustments.apply(ANYBODY, row.id))]
        while not switch.calls[-1:] or (await stored(three[0], row)).owner is None:
            await asyncio.sleep(0.01)
        looks = [Counted(pod.adjustment_store.in_progress) for pod in three[1:]]
        for pod, look in zip(three[1:], looks, strict=True):
            monkeypatch.setattr(pod.adjustment_store, "in_progress", look)
            answers.append(asyncio.ensure_future(pod.adjustments.apply(ANYBODY, row.id)))
        while not all(look.calls for look in looks):
            await asyncio.sleep(0.01)
        switch.gate.set()
        done = await asyncio.gather(*answers, return_exceptions=True)
    assert switch.changes == [("set_mode", "ECO")]
    if fault is None:
        assert {answer.applied for answer in done if isinstance(answer, SwitchAdjustment)} == {True}
    else:
        codes = [error.code for error in done if isinstance(error, OperatorError)]
        assert codes == [ErrorCode.SWITCH_TIMEOUT] * 3


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
    database: Database, switch: FakeSwitch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2") as (dead, alive):
        row = await recorded(dead, {"mode": "ECO"})
        switch.gate.clear()
        abandoned = asyncio.ensure_future(dead.adjustments.apply(ANYBODY, row.id))
        await asyncio.sleep(0.1)
        await die(dead)
        await asyncio.wait([abandoned])
        assert (await stored(alive, row)).owner == "pod-1"
        switch.gate.set()
        waiting = asyncio.ensure_future(alive.adjustments.apply(ANYBODY, row.id))
        await asyncio.sleep(0.1)
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


async def test_pod_that_loses_its_lease_stops_at_the_next_step(
    database: Database, switch: FakeSwitch
) -> None:
    async with pods(database, switch, "pod-1", "pod-2") as (one, other):
        row = await recorded(one, {"mode": "ECO", "default_model": "large"})
        switch.gate.clear()
        applying = asyncio.ensure_future(failure(one, row))
        await asyncio.sleep(0.1)
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
    finish, tries = local.adjustment_store.finish, 0

    async def unsteady(*args: Any, **kwargs: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 2:
            await finish(*args, **kwargs)  # it was stored, and the answer was lost
        if tries <= 2:
            raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "away")
        return await finish(*args, **kwargs)

    monkeypatch.setattr(local.adjustment_store, "finish", unsteady)
    applied = await local.adjustments.apply(ANYBODY, row.id)
    assert (applied.applied, tries) == (True, 3)
    assert switch.changes == [("set_mode", "ECO")]


async def test_adjustment_of_a_session_deleted_meanwhile_is_not_found(
    pod: Pod, switch: FakeSwitch
) -> None:
    await pod.chat()
    row = await recorded(pod, {"mode": "ECO"}, session_id="s-1")
    switch.gate.clear()
    applying = asyncio.ensure_future(failure(pod, row))
    await asyncio.sleep(0.1)
    async with pod.database.transaction() as tx:
        await tx.execute("DELETE FROM operator_session")
    switch.gate.set()
    assert (await applying).code is ErrorCode.ADJUSTMENT_NOT_FOUND


async def test_adjustment_belongs_to_the_session_or_message_that_it_names(pod: Pod) -> None:
    mine, others = await pod.chat("s-1", "ann"), await pod.chat("s-2", "bob")
    ann = Caller("ann", "operator", "ann")

    async def code(**fields: Any) -> ErrorCode | None:
        body = AdjustmentBody(after_config={"mode": "ECO"}, before_config={}, reason="w", **fields)
        try:
            await pod.adjustments.record(ann, body)
        except OperatorError as error:
            return error.code
        return None

    assert await code(session_id="s-1") is None
    assert await code(session_id="s-1", message_id=mine.reply_id) is None
    assert await code(message_id=mine.message_id) is None, "its message says where"
    assert await code(session_id="s-2") is ErrorCode.SESSION_NOT_FOUND
    assert await code(session_id="s-3") is ErrorCode.SESSION_NOT_FOUND
    assert await code(message_id=others.message_id) is ErrorCode.MESSAGE_NOT_FOUND
    assert await code(session_id="s-1", message_id=others.message_id) is ErrorCode.MESSAGE_NOT_FOUND
    assert await code() is ErrorCode.FORBIDDEN, "nobody bound to a user could see it"


async def test_bound_caller_sees_only_adjustments_of_its_sessions(
    pod: Pod, switch: FakeSwitch
) -> None:
    await pod.chat("s-1", "ann")
    await pod.chat("s-2", "bob")
    ann = Caller("ann", "operator", "ann")
    rows = [
        await recorded(pod, {"mode": "ECO"}, session_id=session_id)
        for session_id in ("s-1", "s-2", None)
    ]
    page = await pod.adjustments.page(ann, session_id=None, applied=None, limit=9, cursor=None)
    assert [row.id for row in page.adjustments] == [rows[0].id]
    for row in rows[1:]:
        for act in (pod.adjustments.apply, pod.adjustments.revert):
            with pytest.raises(OperatorError) as caught:
                await act(ann, row.id)
            assert caught.value.code is ErrorCode.ADJUSTMENT_NOT_FOUND
    assert switch.changes == []


async def test_list_is_paged_and_filtered(pod: Pod) -> None:
    await pod.chat()
    ids = [
        (await recorded(pod, {"mode": "ECO"}, session_id="s-1" if n % 2 else None)).id
        for n in range(5)
    ]
    await pod.adjustments.apply(ANYBODY, ids[3])

    async def page(**kwargs: Any) -> tuple[list[int], str | None]:
        wanted: dict[str, Any] = {"session_id": None, "applied": None, "limit": 2, "cursor": None}
        found = await pod.adjustments.page(ANYBODY, **(wanted | kwargs))
        return [row.id for row in found.adjustments], found.next_cursor

    first, cursor = await page()
    second, cursor = await page(cursor=cursor)
    third, last = await page(cursor=cursor)
    assert [*first, *second, *third] == ids[::-1]
    assert last is None
    assert (await page(session_id="s-1"))[0] == [ids[3], ids[1]]
    assert (await page(applied=True))[0] == [ids[3]]
    assert (await page(applied=False, limit=9))[0] == [ids[4], ids[2], ids[1], ids[0]]
    assert await page(session_id="nowhere") == ([], None)
    for cursor in ("x", "-1", "9" * 30, "१"):
        with pytest.raises(OperatorError):
            await page(cursor=cursor)


async def test_adopted_configuration_that_is_no_object_is_listed_and_not_applied(pod: Pod) -> None:
    written = await pod.adjustment_store.record(
        session_id=None, viewer=None, message_id=None, before_config="{broken",
        after_config=["list"], reason="",
    )  # fmt: skip
    assert written is not None
    assert (await failure(pod, written.row)).code is ErrorCode.CONFLICT
    page = await pod.adjustments.page(ANYBODY, session_id=None, applied=None, limit=9, cursor=None)
    assert page.adjustments[0].before_config == "{broken"


async def test_claim_under_a_lease_that_ran_out_is_released(
    database: Database, switch: FakeSwitch
) -> None:
    async with pods(database, switch) as (pod,):
        await lease(database, "paused", -1)
        row = await recorded(pod, {"mode": "ECO"})
        assert await pod.adjustment_store.claim(row.id, "paused", applied=False) is not None
        await pod.adjustments.release_orphaned()
        assert (await stored(pod, row)).owner is None
