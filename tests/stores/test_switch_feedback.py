"""Feedback as it is stored: an outbox in order of each engine, one row for each reply."""

from __future__ import annotations

from typing import Any

from operator_svc.db import Database
from operator_svc.stores.pods import PodStore
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
