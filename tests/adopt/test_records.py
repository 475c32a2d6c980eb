"""Legacy tool calls and adjustments become records, on both engines."""

from __future__ import annotations

from operator_svc.models import (
    BrowserTask,
    SwitchAdjustment,
    SwitchFeedback,
    ToolCall,
)
from tests.adopt.conftest import AT_NOON, NOON, LegacyFile, Target


async def test_broken_json_of_a_record_is_kept_as_text(legacy: LegacyFile, target: Target) -> None:
    legacy.session("abc")
    legacy.messages("abc", "x")
    call = {"message_id": 1, "tool_name": "t", "status": "ok", "created_at": NOON}
    legacy.add("tool_call", call | {"result": "{'a': 1}"}, call | {"result": "[1]"})
    task = {"session_id": "abc", "url": "http://x/", "status": "done", "created_at": NOON}
    legacy.add("browser_task", task | {"result": "<html>"}, task | {"result": "[1]"})
    legacy.add("switch_adjustment", {"session_id": "abc", "before_config": "ECO",
                                     "after_config": "7", "reason": "r",
                                     "created_at": NOON})  # fmt: skip
    await target.adopt(legacy)
    assert [call.result for call in await target.rows(ToolCall)] == ["{'a': 1}", [1]]
    assert [task.result for task in await target.rows(BrowserTask)] == [
        {"text": "<html>", "text_snippet": "<html>"},
        {"adopted_result": [1]},
    ]
    (change,) = await target.rows(SwitchAdjustment)
    assert change.before_config == {"adopted_config": "ECO"}
    assert change.after_config == {"adopted_config": 7}


TOOL_CALLS = [
    ("ok", None, None, "ok"),
    ("pending", None, None, "pending"),
    ("Success", None, None, "ok"),
    ("failed", None, None, "error"),
    ("strange", "it broke", None, "error"),
    (None, None, "{}", "ok"),
    (None, None, None, "pending"),
]


async def test_status_of_a_tool_call_becomes_a_known_one(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.session("abc")
    legacy.messages("abc", "x")
    for status, error, result, _ in TOOL_CALLS:
        legacy.add("tool_call", {"message_id": 1, "tool_name": "t", "status": status,
                              "error": error, "result": result, "created_at": NOON})  # fmt: skip
    await target.adopt(legacy)
    calls = await target.rows(ToolCall)
    assert [(call.status, call.error) for call in calls] == [
        (new, e) for _, e, _, new in TOOL_CALLS
    ]
    assert all((call.finished_at is None) == (call.status == "pending") for call in calls)


DURATIONS: list[tuple[object, int | None]] = [
    (15, 15), (-1, None), (2.6, 3), ("17", 17), ("x", None), (1e300, None), (2**62, None),
    (float("inf"), None), (None, None),
]  # fmt: skip


async def test_duration_that_is_no_possible_number_becomes_null(
    untyped: LegacyFile, target: Target
) -> None:
    untyped.session("abc", id=1)
    untyped.messages("abc", "x", id=1)
    for number, (value, _) in enumerate(DURATIONS, 1):
        untyped.add("tool_call", {"id": number, "message_id": 1, "tool_name": "t", "status": "ok",
                                "duration_ms": value, "created_at": NOON})  # fmt: skip
    await target.adopt(untyped)
    found = [call.duration_ms for call in await target.rows(ToolCall)]
    assert found == [new for _, new in DURATIONS]


APPLIED: list[tuple[object, bool]] = [
    (1, True), (0, False), (2, True), ("true", True), ("False", False), (None, False),
    ("maybe", False),
]  # fmt: skip


async def test_applied_in_any_form_becomes_yes_or_no(untyped: LegacyFile, target: Target) -> None:
    for number, (value, _) in enumerate(APPLIED, 1):
        untyped.add("switch_adjustment", {
            "id": number, "before_config": "{}", "after_config": "{}", "reason": "r",
            "applied": value, "created_at": NOON,
        })  # fmt: skip
    await target.adopt(untyped)
    changes = await target.rows(SwitchAdjustment)
    assert [change.applied for change in changes] == [new for _, new in APPLIED]
    assert {change.session_id for change in changes} == {None}


async def test_adjustment_that_names_an_engine_becomes_feedback(
    untyped: LegacyFile, target: Target
) -> None:
    untyped.session("abc", id=1)
    untyped.messages("abc", "x", id=1)
    both = {"before_config": "{}", "after_config": '{"mode": "ECO"}', "reason": "slow"}
    untyped.add(
        "switch_adjustment",
        {"id": 1, "session_id": "abc", "message_id": 1, "engine_used": "local", "success": 1,
         "latency_ms": 120, "tokens_used": 40, "feedback_timestamp": NOON},
        {"id": 2, "session_id": "abc", "engine_used": "cli", "success": None, "latency_ms": -3,
         "tokens_used": None, "error_message": "no answer", "created_at": NOON},
        both | {"id": 3, "engine_used": "hybrid", "success": "yes", "created_at": NOON},
    )  # fmt: skip
    report = await target.adopt(untyped)
    assert report.tables["operator_switch_adjustment"].written == 3
    first, second, third = await target.rows(SwitchFeedback)
    assert (first.engine, first.success, first.latency_ms, first.tokens_used) == (
        "local", True, 120, 40,
    )  # fmt: skip
    assert (first.session_id, first.message_id, first.created_at) == ("abc", 1, AT_NOON)
    assert (second.engine, second.success, second.latency_ms) == ("cli", False, None)
    assert (second.error_message, second.message_id) == ("no answer", None)
    assert (third.engine, third.success) == ("hybrid", True)
    # Switch must not be told of them anew.
    assert all(row.given_up_at and not row.forwarded_at for row in (first, second, third))
    (change,) = await target.rows(SwitchAdjustment)
    assert (change.id, change.after_config, change.reason) == (3, {"mode": "ECO"}, "slow")
    assert (await target.adopt(untyped)).tables["operator_switch_adjustment"].skipped == 3
