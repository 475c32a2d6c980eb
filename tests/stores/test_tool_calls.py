"""Tool calls as they are stored: any JSON, one end each, and an event for each write."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc.db import Database
from operator_svc.stores.sessions import SessionStore
from operator_svc.stores.tool_calls import ToolCallState, ToolCallStore, WrittenToolCall
from tests.stores.record_rows import chat, moment, record_events, tool_call


async def pending_call(database: Database, message_id: int) -> WrittenToolCall:
    written = await ToolCallStore(database).record(
        **tool_call(message_id, status="pending", result=None, duration_ms=None)
    )
    assert written is not None
    return written


ENDING = ToolCallState(status="error", duration_ms=3, error="no")


@pytest.mark.parametrize("value", [None, "text", 0, False, 1.5, [], {}, {"a": [{"b": "ü"}]}])
async def test_arguments_and_result_of_any_json_type_are_read_back(
    database: Database, value: object
) -> None:
    started = await chat(database)
    store = ToolCallStore(database)
    stored = await store.record(**tool_call(started.reply_id, arguments=value, result=value))
    assert stored is not None
    (read,) = (await store.of_messages([started.reply_id], limit=9)).rows
    assert (read.arguments, read.result) == (value, value)
    assert type(read.result) is type(value)
    assert await store.get(read.id) == stored.row, "what the write answers is what was stored"


async def test_recorded_call_makes_an_event_without_its_large_parts(database: Database) -> None:
    started = await chat(database)
    stored = await ToolCallStore(database).record(**tool_call(started.reply_id))
    assert stored is not None
    row, event = stored
    assert (event.id, event.session_id, event.seq, event.ts) == (row.id, "s-1", 4, row.created_at)
    (read,) = await record_events(database)
    assert (read.seq, read.event, read.ts, read.data) == (
        4, "tool_call.recorded", event.ts, event.data,
    )  # fmt: skip
    assert moment(read.data.pop("created_at")) == row.created_at
    assert moment(read.data.pop("finished_at")) == row.finished_at
    assert read.data == {
        "id": row.id, "message_id": started.reply_id, "tool_name": "grep", "status": "ok",
        "duration_ms": 7, "error": None,
    }  # fmt: skip


async def test_several_ends_at_once_store_one_of_them(database: Database) -> None:
    started = await chat(database)
    store = ToolCallStore(database)
    pending = (await pending_call(database, started.reply_id)).row
    assert pending.finished_at is None
    ends = await asyncio.gather(*[store.finish(pending, ENDING) for _ in range(5)])
    (ended,) = [written for written in ends if written is not None]
    assert (ended.row.status, ended.row.error, ended.row.arguments) == ("error", "no", {"q": 1})
    assert await store.get(pending.id) == ended.row
    events = await record_events(database)
    assert [(e.seq, e.event, e.data["status"]) for e in events] == [
        (4, "tool_call.recorded", "pending"),
        (5, "tool_call.recorded", "error"),
    ]
    assert events[1].data == ended.event.data
    assert moment(events[1].data["finished_at"]) == ended.row.finished_at == ended.event.ts


async def test_end_keeps_what_it_does_not_name(database: Database) -> None:
    started = await chat(database)
    store = ToolCallStore(database)
    pending = (await pending_call(database, started.reply_id)).row
    ended = await store.finish(pending, ToolCallState(status="ok", duration_ms=3, result=0))
    assert ended is not None
    assert await store.get(pending.id) == ended.row
    assert (ended.row.arguments, ended.row.result, ended.row.duration_ms) == ({"q": 1}, 0, 3)


async def test_end_of_a_call_whose_session_was_deleted_is_refused(database: Database) -> None:
    started = await chat(database)
    pending = (await pending_call(database, started.reply_id)).row
    await SessionStore(database).delete("s-1", None)
    assert await ToolCallStore(database).finish(pending, ENDING) is None
