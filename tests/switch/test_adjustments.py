"""Adjustments as records: what is stored of them, their lists, and who may see them."""

from __future__ import annotations

from typing import Any

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.protocol.switch import AdjustmentBody
from tests.fakes.records import ANYBODY, FakeSwitch, Pod
from tests.fakes.switch_faults import Fault, broken, late, unreachable
from tests.switch.applying import BEFORE, failure, recorded


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


@pytest.mark.parametrize("said", ["a\0b", "x" * 201, ""], ids=["NUL", "long", "empty"])
async def test_setting_of_switch_that_no_adjustment_can_have_is_recorded_as_unknown(
    pod: Pod, switch: FakeSwitch, said: str
) -> None:
    switch.mode = switch.active = switch.warm = said
    row = await recorded(pod, {"mode": "ECO"})
    assert row.before_config == dict.fromkeys(["mode", "default_model", "preload_model"])
    assert (await pod.adjustments.apply(ANYBODY, row.id)).applied
    assert (await failure(pod, row, revert=True)).code is ErrorCode.CONFLICT


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
