"""What the writes of tool calls, changes of Switch and feedback leave, on both engines."""

from __future__ import annotations

import asyncio
import statistics
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.stores.events import EventStore
from operator_svc.stores.messages import MessageStore, Started
from operator_svc.stores.pods import PodStore
from operator_svc.stores.sessions import SessionStore
from operator_svc.stores.switch_adjustments import AdjustmentStore
from operator_svc.stores.switch_feedback import FeedbackStore
from operator_svc.stores.tool_calls import ToolCallStore

POD, OTHER = "pod-1", "pod-2"


async def chat(database: Database, session_id: str = "s-1", user_id: str = "ann") -> Started:
    """A session with a message and a reply; its last event is number 3."""
    started = await MessageStore(database).start_new(
        session_id=session_id, epoch=str(uuid.uuid4()), user_id=user_id, source="api",
        content="hello", metadata={}, pod_id=POD, key=None,
    )  # fmt: skip
    assert started is not None
    return started


def call(message_id: int, **fields: Any) -> dict[str, Any]:
    return {
        "message_id": message_id, "viewer": None, "tool_name": "grep", "status": "ok",
        "duration_ms": 7, "arguments": {"q": 1}, "result": [1, "two", None], "error": None,
        **fields,
    }  # fmt: skip


@pytest.mark.parametrize("value", [None, "text", 0, False, 1.5, [], {}, {"a": [{"b": "ü"}]}])
async def test_arguments_and_results_are_any_json(database: Database, value: object) -> None:
    started = await chat(database)
    store = ToolCallStore(database)
    stored = await store.record(**call(started.reply_id, arguments=value, result=value))
    assert stored is not None
    assert (stored.arguments, stored.result) == (value, value)
    assert type(stored.result) is type(value)
    (again,) = await store.of_messages([started.reply_id])
    assert (again.arguments, again.result) == (value, value)


async def test_a_tool_call_makes_an_event_without_its_large_parts(database: Database) -> None:
    started = await chat(database)
    stored = await ToolCallStore(database).record(**call(started.reply_id))
    assert stored is not None
    assert (stored.session_id, stored.seq) == ("s-1", 4)
    (row,) = await EventStore(database).after("s-1", 3, 10)
    assert (row.seq, row.event, row.ts, row.data) == (
        4, "tool_call.recorded", stored.ts, stored.data,
    )  # fmt: skip
    assert row.data.pop("created_at") == row.data.pop("finished_at")
    assert row.data == {
        "id": stored.id, "message_id": started.reply_id, "tool_name": "grep", "status": "ok",
        "duration_ms": 7, "error": None,
    }  # fmt: skip
    assert datetime.fromisoformat(stored.data["created_at"]) == stored.created_at


async def test_a_tool_call_needs_a_message_that_its_viewer_sees(database: Database) -> None:
    started = await chat(database)
    store = ToolCallStore(database)
    assert await store.record(**call(started.reply_id + 10)) is None
    assert await store.record(**call(started.reply_id, viewer="bob")) is None
    assert await store.record(**call(started.reply_id, viewer="ann")) is not None
    session = await SessionStore(database).get("s-1")
    assert session is not None
    assert session.last_seq == 4, "what was refused took no number"


async def test_a_pending_tool_call_ends_once(database: Database) -> None:
    started = await chat(database)
    store = ToolCallStore(database)
    pending = await store.record(
        **call(started.reply_id, status="pending", result=None, duration_ms=None)
    )
    assert pending is not None
    assert pending.finished_at is None
    end: dict[str, Any] = {
        "tool_call_id": pending.id, "message_id": None, "viewer": None, "status": "error",
        "duration_ms": 3, "arguments": None, "result": None, "error": "no",
    }  # fmt: skip
    for refused in ({"viewer": "bob"}, {"message_id": started.message_id}):
        assert await store.finish(**{**end, **refused}) is None
    ends = await asyncio.gather(*[store.finish(**end) for _ in range(5)])
    (ended,) = [written for written in ends if written is not None]
    assert (ended.status, ended.error, ended.arguments) == ("error", "no", {"q": 1})
    assert ended.finished_at is not None
    events = await EventStore(database).after("s-1", 3, 10)
    assert [(e.seq, e.event, e.data["status"]) for e in events] == [
        (4, "tool_call.recorded", "pending"),
        (5, "tool_call.recorded", "error"),
    ]
    assert events[1].data == ended.data


async def test_records_without_a_session_make_no_event(database: Database) -> None:
    before = await AdjustmentStore(database).record(
        session_id=None, viewer=None, message_id=None, before_config={"mode": "ECO"},
        after_config={"mode": "BALANCED", "x": [1.0, True, None]}, reason="why",
    )  # fmt: skip
    assert before is not None
    assert (before.seq, before.ts, before.data, before.applied) == (None, None, None, False)
    assert before.after_config == {"mode": "BALANCED", "x": [1.0, True, None]}
    feedback = await FeedbackStore(database).record(**said("e"))
    assert feedback is not None
    assert (feedback.seq, feedback.success, feedback.forwarded_at) == (None, True, None)


async def test_an_adjustment_and_its_events(database: Database) -> None:
    await chat(database)
    store = AdjustmentStore(database)
    await PodStore(database).register(POD, 10)
    config: dict[str, Any] = {
        "before_config": {"mode": "ECO"},
        "after_config": {"mode": "CRITICAL"},
    }
    common: dict[str, Any] = {
        "viewer": None,
        "message_id": None,
        "reason": "why",
        **config,
    }
    assert await store.record(session_id="s-2", **common) is None
    assert await store.record(session_id="s-1", **{**common, "viewer": "bob"}) is None
    recorded = await store.record(session_id="s-1", **common)
    assert recorded is not None
    written = [recorded]
    for event, error, applied in (
        ("switch_adjustment.failed", "switch_error: no", False),
        ("switch_adjustment.applied", None, True),
        ("switch_adjustment.failed", "switch_timeout: late", True),
        ("switch_adjustment.reverted", None, False),
        ("switch_adjustment.applied", None, True),
    ):
        claimed = await store.claim(recorded.id, POD, applied=written[-1].applied)
        assert claimed is not None
        assert await store.finish(claimed, OTHER, event, error) is None
        done = await store.finish(claimed, POD, event, error)
        assert done is not None
        assert (done.applied, done.error, done.owner) == (applied, error, None)
        written.append(done)
    assert written[1].applied_at is None
    assert written[2].applied_at == written[3].applied_at is not None
    assert written[4].reverted_at is not None
    assert written[5].reverted_at is None, "it is applied again"
    events = await EventStore(database).after("s-1", 3, 10)
    assert [(e.seq, e.ts, e.data) for e in events] == [(w.seq, w.ts, w.data) for w in written]
    for done in written:
        times = ("applied_at", "reverted_at", "created_at")
        shown = {k: v for k, v in done.data.items() if k not in times}
        assert shown == {
            "id": recorded.id, "session_id": "s-1", "message_id": None, "reason": "why",
            "applied": done.applied, "error": done.error, **config,
        }  # fmt: skip
        for name in times:
            at = done.data[name] and datetime.fromisoformat(done.data[name])
            assert at == getattr(done, name)


async def test_only_one_process_has_an_adjustment(database: Database) -> None:
    store, pods = AdjustmentStore(database), PodStore(database)
    recorded = await store.record(
        session_id=None, viewer=None, message_id=None, before_config={}, after_config={},
        reason="why",
    )  # fmt: skip
    assert recorded is not None
    for pod in (POD, OTHER):
        await lease(database, pod, 10)
    assert await store.claim(recorded.id, POD, applied=True) is None
    claims = await asyncio.gather(
        *[store.claim(recorded.id, pod, applied=False) for pod in (POD, OTHER)]
    )
    (winner,) = [claimed.owner for claimed in claims if claimed is not None]
    assert winner is not None
    loser = OTHER if winner == POD else POD
    assert [work.owner for work in await store.at_work()] == [winner]
    await store.release(recorded.id, loser)
    assert await store.claim(recorded.id, loser, applied=False) is None
    assert await store.free() == 0
    await pods.remove(winner)
    assert await store.free() == 1
    assert await store.at_work() == []
    assert await store.claim(recorded.id, loser, applied=False) is not None


async def lease(database: Database, pod_id: str, seconds: float) -> None:
    """A pod beside others, on SQLite too."""
    now = "now() + make_interval(secs => :s)" if database.dialect == "postgresql" else "now(:s)"
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_pod (pod_id, started_at, lease_until)"
            f" VALUES (:p, {now}, {now})",
            p=pod_id, s=seconds,
        )  # fmt: skip


def said(
    engine: str, latency_ms: int = 10, *, success: bool = True, **fields: Any
) -> dict[str, Any]:
    return {
        "session_id": None, "viewer": None, "message_id": None, "engine": engine,
        "success": success, "latency_ms": latency_ms, "tokens_used": 5, "error_message": None,
        **fields,
    }  # fmt: skip


async def test_the_outbox_keeps_the_order_of_each_engine(database: Database) -> None:
    store = FeedbackStore(database)
    ids: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for engine in "abacbac":
        row = await store.record(**said(engine))
        assert row is not None
        ids[engine].append(row.id)
    for pod in (POD, OTHER):
        await lease(database, pod, 10)
    assert await store.heads(OTHER) == [ids["a"][0], ids["b"][0], ids["c"][0]]
    first = await store.claim(ids["a"][0], POD)
    assert first is not None
    assert (first.engine, first.success, first.latency_ms, first.attempts) == ("a", True, 10, 0)
    assert await store.claim(ids["a"][0], OTHER) is None
    assert await store.heads(OTHER) == [ids["b"][0], ids["c"][0]], "the engine is taken"
    assert await store.heads(POD) == [ids["a"][0], ids["b"][0], ids["c"][0]]
    second = await store.settle(first.id, POD, given_up=False, go_on=True)
    assert second is not None
    assert second.id == ids["a"][1]
    assert await store.settle(first.id, POD, given_up=False, go_on=True) is None
    assert await store.settle(second.id, OTHER, given_up=False, go_on=True) is None
    assert await store.settle(second.id, POD, given_up=True, go_on=False) is None
    assert await store.heads(OTHER) == [ids["b"][0], ids["c"][0], ids["a"][2]]
    third = await store.claim(ids["a"][2], OTHER)
    assert third is not None
    await store.postpone(third.id, OTHER, 60)
    assert await store.heads(OTHER) == [ids["b"][0], ids["c"][0]], "its time has not come"
    assert await store.claim(third.id, POD) is None
    rows = await read(
        database,
        "SELECT id, attempts FROM operator_switch_feedback"
        " WHERE forwarded_at IS NOT NULL OR given_up_at IS NOT NULL ORDER BY id",
    )
    assert rows == [(ids["a"][0], 1), (ids["a"][1], 1)]


async def test_what_a_dead_process_had_is_taken_over(database: Database) -> None:
    store = FeedbackStore(database)
    row = await store.record(**said("a"))
    assert row is not None
    await lease(database, POD, 10)
    await lease(database, OTHER, 10)
    assert await store.claim(row.id, POD) is not None
    assert await store.heads(OTHER) == []
    assert await store.free() == 0
    await PodStore(database).remove(POD)
    assert await store.free() == 1
    assert await store.heads(OTHER) == [row.id]
    assert await store.claim(row.id, OTHER) is not None
    assert await store.settle(row.id, POD, given_up=False, go_on=True) is None, "it was too late"


async def read(database: Database, sql: str) -> list[tuple[object, ...]]:
    async with database.transaction() as tx:
        return await tx.fetch(sql)


async def test_percentiles_are_exact_on_both_engines(database: Database) -> None:
    store = FeedbackStore(database)
    latencies = {"many": [*range(0, 1000, 7)], "two": [10, 20], "one": [5]}
    for engine, values in latencies.items():
        for latency in values:
            await store.record(**said(engine, latency))
    for _ in range(3):
        await store.record(**said("two", 99_999, success=False))
        await store.record(**said("none", 1, success=False))
    found = {stats.engine: stats for stats in await store.engines(3600, 10)}
    assert list(found) == ["many", "two", "none", "one"]
    for engine, values in latencies.items():
        p50, p95 = found[engine].latency_p50_ms, found[engine].latency_p95_ms
        assert p50 == pytest.approx(statistics.median(values))
        place = 0.95 * (len(values) - 1)
        low = values[int(place)]
        high = values[min(int(place) + 1, len(values) - 1)]
        assert p95 == pytest.approx(low + (high - low) * (place % 1))
    assert (found["two"].calls, found["two"].successes, found["two"].tokens) == (5, 2, 25)
    assert (found["none"].latency_p50_ms, found["none"].latency_p95_ms) == (None, None)
    assert [stats.engine for stats in await store.engines(3600, 2)] == ["many", "two"]


async def test_the_window_leaves_older_feedback_out(database: Database) -> None:
    store = FeedbackStore(database)
    assert await store.engines(3600, 10) == []
    for latency in (10, 20):
        await store.record(**said("a", latency))
    old = datetime(2020, 1, 1, tzinfo=UTC)
    text = old if database.dialect == "postgresql" else "2020-01-01T00:00:00.000000Z"
    async with database.transaction() as tx:
        await tx.execute(
            "UPDATE operator_switch_feedback SET created_at = :old WHERE latency_ms = 20", old=text
        )
    (stats,) = await store.engines(3600, 10)
    assert (stats.calls, stats.latency_p95_ms) == (1, 10.0)
