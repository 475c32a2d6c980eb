"""Tool calls that Switch streams, and that live and replayed events of all records are the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.models import ToolCall as ToolCallRow
from operator_svc.peers.chat_types import ToolCallPart
from operator_svc.protocol.switch import AdjustmentBody, FeedbackBody
from operator_svc.protocol.tool_calls import ToolCallBody
from operator_svc.services.chat import tool_calls
from operator_svc.services.chat.running_replies import Asker, RunningReply
from operator_svc.services.live.events import LiveEvent
from operator_svc.stores.message_rows import Started
from tests.fakes.records import ANYBODY, FakeSwitch, Pod
from tests.fakes.switch_faults import late


async def streamed(pod: Pod, started: Started, *calls: ToolCallPart) -> list[ToolCallRow]:
    running = RunningReply("s-1", started, Asker("tests", "ann"))
    for call in calls:
        await pod.tool_calls.record_streamed(running, call)
    return (await pod.tool_call_store.of_messages([started.reply_id], limit=1000)).rows


def call(**raw: Any) -> ToolCallPart:
    return ToolCallPart(
        name="grep", arguments={"q": 1}, id=raw.get("id"), raw={"name": "grep", **raw}
    )


@pytest.mark.parametrize(
    ("raw", "status", "result", "error", "took"),
    [
        ({}, "pending", None, None, None),
        ({"status": "ok"}, "ok", None, None, None),
        ({"status": "Completed", "result": [1], "duration_ms": 12.6}, "ok", [1], None, 13),
        ({"result": {"n": 0}}, "ok", {"n": 0}, None, None),
        ({"output": "text"}, "ok", "text", None, None),
        ({"status": "pending", "result": 0}, "pending", 0, None, None),
        ({"status": "failed", "error": "no", "latency_ms": 3}, "error", None, "no", 3),
        ({"error": {"code": 7}}, "error", None, '{"code":7}', None),
        ({"status": "strange"}, "pending", None, None, None),
        ({"status": 7, "error": "", "duration_ms": -1}, "pending", None, None, None),
    ],
)
async def test_streamed_call_becomes_a_record(
    local: Pod, raw: dict[str, Any], status: str, result: Any, error: str | None, took: int | None
) -> None:
    started = await local.chat()
    (row,) = await streamed(local, started, call(**raw))
    assert (row.tool_name, row.arguments, row.status) == ("grep", {"q": 1}, status)
    assert (row.result, row.error, row.duration_ms) == (result, error, took)
    assert (row.finished_at is None) == (status == "pending")


async def test_streamed_result_with_the_same_id_ends_the_call(pod: Pod) -> None:
    started = await pod.chat()
    (row,) = await streamed(
        pod, started, call(id="c-1"), call(id="c-1", status="ok", result="done")
    )
    assert (row.status, row.result, row.arguments) == ("ok", "done", {"q": 1})
    events = await pod.log()
    assert [event.data["status"] for event in events] == ["pending", "ok"]


async def test_streamed_calls_of_two_replies_with_the_same_id_are_apart(local: Pod) -> None:
    one, other = await local.chat("s-1"), await local.chat("s-2")
    await streamed(local, one, call(id="c"))
    (row,) = await streamed(local, other, call(id="c", status="ok"))
    assert row.status == "ok"
    (row,) = (await local.tool_call_store.of_messages([one.reply_id], limit=9)).rows
    assert row.status == "pending"


async def test_streamed_end_of_a_call_that_ended_already_is_recorded_anew(local: Pod) -> None:
    """A client was faster than Switch: nothing that Switch says gets lost."""
    started = await local.chat()
    (row,) = await streamed(local, started, call(id="c"))
    await local.tool_calls.record(ANYBODY, ToolCallBody(tool_call_id=row.id, status="error"))
    rows = await streamed(local, started, call(id="c", status="ok", result=1))
    assert [(r.status, r.result) for r in rows] == [("error", None), ("ok", 1)]


async def test_too_large_result_is_left_out_and_noted(
    local: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_calls, "MAX_VALUE_BYTES", 100)
    started = await local.chat()
    (row,) = await streamed(local, started, call(result="x" * 200, error="also"))
    assert (row.result, row.arguments, row.status) == (None, {"q": 1}, "error")
    assert row.error == "also; the result had 202 bytes, more than 100, and were left out"


async def test_number_of_remembered_pending_calls_is_bounded(
    local: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_calls, "REMEMBERED", 2)
    started = await local.chat()
    await streamed(local, started, *[call(id=str(n)) for n in range(5)])
    rows = await streamed(local, started, call(id="4", status="ok"), call(id="0", status="ok"))
    assert [row.status for row in rows] == ["pending"] * 4 + ["ok", "ok"]


async def test_short_outage_is_waited_out_and_a_long_one_loses_the_call_only(
    local: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_calls, "STORE_PATIENCE", 0.5)
    started = await local.chat()
    record, failing = local.tool_call_store.record, 2

    async def unsteady(**fields: Any) -> Any:
        nonlocal failing
        failing -= 1
        if failing >= 0:
            raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "away")
        return await record(**fields)

    monkeypatch.setattr(local.tool_call_store, "record", unsteady)
    assert len(await streamed(local, started, call())) == 1
    failing = 100
    assert len(await streamed(local, started, call())) == 1
    assert failing < 99


async def test_streamed_call_of_a_deleted_session_is_ignored(local: Pod) -> None:
    deleted = msgspec.structs.replace(await local.chat(), reply_id=999)
    assert await streamed(local, deleted, call()) == []


async def test_live_and_replayed_events_of_records_are_the_same_bytes(
    pod: Pod, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[bytes] = []
    monkeypatch.setattr(
        pod.hub, "publish", lambda _, *events: shown.extend(event.frame for event in events)
    )
    started = await pod.chat()
    text = 'naïve "quotes" \\ 😀 \u2028 1.0'
    pending = await pod.tool_calls.record(
        ANYBODY,
        ToolCallBody(
            message_id=started.reply_id, tool_name=text, status="pending", arguments=[1.0, text]
        ),
    )
    await pod.tool_calls.record(
        ANYBODY, ToolCallBody(tool_call_id=pending.id, status="error", error=text, duration_ms=1.4)
    )
    odd = {"mode": "ECO", text: [1.0, 10**30, -0.5, True, None, {"a": {"b": []}}], "": 1.5e10}
    row = await pod.adjustments.record(
        ANYBODY,
        AdjustmentBody(
            after_config=odd, before_config=odd, reason=text, session_id="s-1",
            message_id=started.message_id,
        ),
    )  # fmt: skip
    switch.faults["set_mode"] = [late]
    with pytest.raises(OperatorError):
        await pod.adjustments.apply(ANYBODY, row.id)
    await pod.adjustments.apply(ANYBODY, row.id)
    await pod.adjustments.revert(ANYBODY, row.id)
    await pod.feedback.record(
        ANYBODY,
        FeedbackBody(
            engine=text, success=False, error_msg=text, session_id="s-1",
        ),
    )  # fmt: skip
    replayed = [LiveEvent.of_row(event, None).frame for event in await pod.log()]
    assert len(replayed) == 7
    assert shown == replayed, "to the byte"
    data = msgspec.json.decode(replayed[2])["data"]
    assert data["after_config"] == odd


async def test_list_of_a_message_is_paged_and_kept_from_others(pod: Pod) -> None:
    started, others = await pod.chat("s-1", "ann"), await pod.chat("s-2", "bob")
    ids = [
        (
            await pod.tool_calls.record(
                ANYBODY, ToolCallBody(message_id=started.reply_id, tool_name=f"t{n}")
            )
        ).id
        for n in range(5)
    ]
    seen: list[int] = []
    cursor: str | None = None
    for size in (2, 2, 1):
        page = await pod.tool_calls.of_message(ANYBODY, started.reply_id, limit=2, cursor=cursor)
        assert len(page.tool_calls) == size
        seen += [view.id for view in page.tool_calls]
        cursor = page.next_cursor
    assert (seen, cursor) == (ids, None)
    ann = Caller("ann", "client", "ann")
    for message_id in (others.reply_id, 999):
        with pytest.raises(OperatorError) as caught:
            await pod.tool_calls.of_message(ann, message_id, limit=2, cursor=None)
        assert caught.value.code is ErrorCode.MESSAGE_NOT_FOUND
        with pytest.raises(OperatorError) as caught:
            await pod.tool_calls.record(ann, ToolCallBody(message_id=message_id, tool_name="t"))
        assert caught.value.code is ErrorCode.MESSAGE_NOT_FOUND
