"""Applying and reverting an adjustment: confirmed on Switch, undone where it fails half-way."""

from __future__ import annotations

from typing import Any

import pytest

from operator_svc.errors import ErrorCode
from tests.fakes.records import ANYBODY, FakeSwitch, Pod
from tests.fakes.switch_faults import Fault, broken, late, refused, unreachable
from tests.switch.applying import BEFORE, failure, recorded, stored


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
        ({"preload_model": None}, {"preload_model": "large"}, "revert"),
        ({}, {"preload_model": "large"}, "revert"),
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
    assert "did not set mode and default_model" in error.detail
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


async def test_revert_of_a_preload_loads_what_was_warm_before(pod: Pod, switch: FakeSwitch) -> None:
    switch.warm = "large"
    row = await recorded(pod, {"preload_model": "huge"})
    await pod.adjustments.apply(ANYBODY, row.id)
    assert switch.warm == "huge"
    reverted = await pod.adjustments.revert(ANYBODY, row.id)
    assert (switch.warm, reverted.applied) == ("large", False)
    assert switch.changes == [("preload_model", "huge"), ("preload_model", "large")]


async def test_revert_of_several_settings_loads_what_was_warm_before(
    local: Pod, switch: FakeSwitch
) -> None:
    switch.warm = "large"
    row = await recorded(local, {"mode": "ECO", "preload_model": "huge"})
    await local.adjustments.apply(ANYBODY, row.id)
    await local.adjustments.revert(ANYBODY, row.id)
    assert switch.config == ("BALANCED", "small", "large")


async def test_failed_apply_loads_what_was_warm_before(local: Pod, switch: FakeSwitch) -> None:
    switch.warm = "large"
    row = await recorded(local, {"mode": "ECO", "preload_model": "huge"})
    switch.after["preload_model"] = [late]
    error = await failure(local, row)
    assert error.code is ErrorCode.SWITCH_TIMEOUT
    assert "put back" not in error.detail
    assert switch.config == ("BALANCED", "small", "large")


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
