"""Feedback as it is stored: an outbox in order of each engine, and what it adds up to."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.stores.pods import PodStore
from operator_svc.stores.sessions import SessionStore
from operator_svc.stores.switch_feedback import FeedbackStore
from tests.fakes.records import lease
from tests.stores.record_rows import OTHER, POD, chat, feedback, moment, record_events


async def test_feedback_of_a_session_makes_an_event_and_other_feedback_none(
    database: Database,
) -> None:
    started = await chat(database)
    store = FeedbackStore(database)
    alone = await store.record(**feedback("e"))
    assert alone is not None
    assert (alone.event.seq, alone.row.success, alone.row.forwarded_at) == (None, True, None)
    of_reply: dict[str, Any] = {"session_id": "s-1", "message_id": started.reply_id}
    written = await store.record(**feedback("e", success=False, error_message="no", **of_reply))
    assert written is not None
    (event,) = await record_events(database)
    assert (event.seq, event.ts, event.data) == (4, written.event.ts, written.event.data)
    assert moment(event.data.pop("created_at")) == written.row.created_at
    assert event.data == {
        "id": written.row.id, **of_reply, "engine": "e", "success": False, "latency_ms": 10,
        "tokens_used": 5, "error_message": "no", "forwarded_at": None,
    }  # fmt: skip


async def test_feedback_of_a_session_that_the_viewer_may_not_see_is_not_recorded(
    database: Database,
) -> None:
    started = await chat(database)
    store = FeedbackStore(database)
    for refused in (
        {"session_id": "s-2"},
        {"session_id": "s-1", "viewer": "bob"},
        {"session_id": "s-1", "message_id": started.reply_id + 10},
    ):
        assert await store.record(**feedback("e", **refused)) is None
    session = await SessionStore(database).get("s-1")
    assert session is not None
    assert session.last_seq == 3, "what was refused took no number"


async def test_outbox_gives_each_engines_oldest_row_to_one_process(database: Database) -> None:
    store = FeedbackStore(database)
    ids: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for engine in "abacbac":
        written = await store.record(**feedback(engine))
        assert written is not None
        ids[engine].append(written.row.id)
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


async def test_claim_of_a_dead_process_is_released(database: Database) -> None:
    store = FeedbackStore(database)
    written = await store.record(**feedback("a"))
    assert written is not None
    feedback_id = written.row.id
    await lease(database, POD, 10)
    await lease(database, OTHER, 10)
    assert await store.claim(feedback_id, POD) is not None
    assert await store.heads(OTHER) == []
    assert await store.release_orphaned() == 0
    await PodStore(database).remove(POD)
    assert await store.release_orphaned() == 1
    assert await store.heads(OTHER) == [feedback_id]
    assert await store.claim(feedback_id, OTHER) is not None
    assert await store.settle(feedback_id, POD, given_up=False, go_on=True) is None, "too late"


async def read(database: Database, sql: str) -> list[tuple[object, ...]]:
    async with database.transaction() as tx:
        return await tx.fetch(sql)


async def test_percentiles_are_the_same_on_both_engines(database: Database) -> None:
    store = FeedbackStore(database)
    latencies = {"many": [*range(0, 1000, 7)], "two": [10, 20], "one": [5]}
    for engine, values in latencies.items():
        for latency in values:
            await store.record(**feedback(engine, latency))
    for _ in range(3):
        await store.record(**feedback("two", 99_999, success=False))
        await store.record(**feedback("none", 1, success=False))
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


async def test_window_leaves_older_feedback_out(database: Database) -> None:
    store = FeedbackStore(database)
    assert await store.engines(3600, 10) == []
    for latency in (10, 20):
        await store.record(**feedback("a", latency))
    old = datetime(2020, 1, 1, tzinfo=UTC)
    text = old if database.dialect == "postgresql" else "2020-01-01T00:00:00.000000Z"
    async with database.transaction() as tx:
        await tx.execute(
            "UPDATE operator_switch_feedback SET created_at = :old WHERE latency_ms = 20", old=text
        )
    (stats,) = await store.engines(3600, 10)
    assert (stats.calls, stats.latency_p95_ms) == (1, 10.0)


async def test_success_without_a_latency_counts_for_the_rate_and_for_no_percentile(
    database: Database,
) -> None:
    store = FeedbackStore(database)
    for latency in (10, None, 30):
        await store.record(**feedback("a", 0) | {"latency_ms": latency})
    (found,) = await store.engines(3600, 10)
    assert (found.calls, found.successes) == (3, 3)
    assert (found.latency_p50_ms, found.latency_p95_ms) == (20, 29)
