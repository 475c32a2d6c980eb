"""A whole legacy database: ids, times, search, missing tables, encodings; on both engines."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from operator_svc.models import (
    BrowserTask,
    Message,
    Session,
    SwitchAdjustment,
    ToolCall,
)
from operator_svc.services.search_indexer import SearchIndexer
from operator_svc.stores.search import SearchIndexStore
from operator_svc.stores.sessions import NEWEST, SessionStore
from tests.adopt.conftest import AT_NOON, NOON, UNTYPED_SCHEMA, LegacyFile, Target


async def test_rows_of_all_tables_keep_their_ids_and_times(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.session("abc", id=7, user_id="ana", source="cli", updated_at="2025-12-14 13:00:00.5")
    legacy.messages("abc", "hello", id=11, created_at="2025-12-14 12:00:01.123456")
    legacy.messages(
        "abc", "hi there", id=12, role="assistant", message_metadata='{"provider": "local"}'
    )
    legacy.add(
        "tool_call",
        {"id": 3, "message_id": 12, "tool_name": "switch", "status": "ok", "duration_ms": 15,
         "result": '{"n": [1, 2.50, "é"]}', "error": None, "created_at": NOON},
    )  # fmt: skip
    legacy.add(
        "browser_task",
        {"id": 5, "session_id": "abc", "url": "https://example.org/", "status": "done",
         "result": '{"title": "Example", "text": "words"}', "created_at": NOON,
         "executed_at": "2025-12-14 12:00:09"},
    )  # fmt: skip
    legacy.add(
        "switch_adjustment",
        {"id": 9, "session_id": "abc", "message_id": 12, "before_config": '{"mode": "ECO"}',
         "after_config": '{"mode": "BALANCED"}', "reason": "slow", "applied": 1,
         "created_at": NOON, "applied_at": "2025-12-14 12:00:10"},
    )  # fmt: skip

    report = await target.adopt(legacy)

    assert [counts.written for counts in report.tables.values()] == [1, 2, 1, 1, 1]
    assert not report.reasons
    (session,) = await target.rows(Session)
    assert (session.id, session.session_id, session.user_id) == (7, "abc", "ana")
    assert (session.source, session.last_seq, session.message_count) == ("cli", 0, 2)
    assert session.created_at == AT_NOON
    assert session.updated_at == AT_NOON + dt.timedelta(hours=1, seconds=0.5)
    assert session.metadata is None
    first, second = await target.rows(Message)
    assert (first.id, first.session_id, first.role, first.content) == (11, "abc", "user", "hello")
    assert first.created_at == AT_NOON + dt.timedelta(seconds=1, microseconds=123456)
    assert (first.status, first.metadata) == ("complete", None)
    assert (second.id, second.role, second.metadata) == (12, "assistant", {"provider": "local"})
    (call,) = await target.rows(ToolCall)
    assert (call.id, call.message_id, call.status, call.duration_ms) == (3, 12, "ok", 15)
    assert call.result == {"n": [1, 2.5, "é"]}
    assert call.created_at == call.finished_at == AT_NOON
    (task,) = await target.rows(BrowserTask)
    assert (task.id, task.task_id, task.session_id, task.user_id) == (5, "5", "abc", "ana")
    assert (task.status, task.error, task.options) == ("completed", None, {})
    assert task.completed_at == AT_NOON + dt.timedelta(seconds=9)
    assert task.result == {"title": "Example", "text": "words", "text_snippet": "words"}
    (change,) = await target.rows(SwitchAdjustment)
    assert (change.id, change.session_id, change.message_id, change.applied) == (9, "abc", 12, True)
    assert (change.before_config, change.after_config) == ({"mode": "ECO"}, {"mode": "BALANCED"})
    assert change.applied_at == AT_NOON + dt.timedelta(seconds=10)
    assert await target.count("operator_event") == 0
    assert await target.count("operator_switch_feedback") == 0


async def test_text_of_adopted_messages_is_found_by_the_search(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.session("abc")
    legacy.session("other")
    legacy.messages("abc", "the quick brown fox")
    legacy.messages("other", "the lazy dog")
    await target.adopt(legacy)
    async with target.open() as database:
        await SearchIndexer(SearchIndexStore(database)).run()
        page = await SessionStore(database).page(
            user_id=None, words="brown quick", before=NEWEST, limit=10
        )
    assert [session.session_id for session in page.rows] == ["abc"]


async def test_missing_sessions_and_messages_are_made_and_marked(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.messages("lost", "orphan", id=4, created_at="2025-12-14 10:00:00")
    legacy.messages("lost", "orphan too", id=5, created_at="2025-12-14 11:00:00")
    legacy.add("tool_call", {"id": 1, "message_id": 90, "tool_name": "x", "status": "ok",
                          "created_at": NOON})  # fmt: skip
    legacy.add("browser_task", {"session_id": "lost too", "url": "http://x/", "status": "done",
                             "created_at": NOON})  # fmt: skip
    legacy.add("switch_adjustment", {"session_id": "lost", "message_id": 91, "before_config": "{}",
                                  "after_config": "{}", "reason": "r", "applied": 0,
                                  "created_at": NOON})  # fmt: skip
    legacy.add("switch_adjustment", {"session_id": "lost", "message_id": 90, "before_config": "{}",
                                  "after_config": "{}", "reason": "r", "applied": 0,
                                  "created_at": NOON})  # fmt: skip
    report = await target.adopt(legacy)
    sessions = {session.session_id: session for session in await target.rows(Session)}
    lost = sessions.pop("lost")
    assert lost.metadata == {"adopted": True}
    assert (lost.user_id, lost.source, lost.message_count) == ("local", "adopted", 2)
    assert lost.created_at == AT_NOON - dt.timedelta(hours=2)
    assert lost.updated_at == AT_NOON - dt.timedelta(hours=1)
    (renamed,) = (s for s in sessions.values() if s.session_id.startswith("lost-too-"))
    assert renamed.metadata == {"adopted": True, "adopted_session_id": "lost too"}
    (home,) = (s for s in sessions.values() if s is not renamed)
    assert home.metadata == {"adopted": True}
    messages = {message.id: message for message in await target.rows(Message)}
    assert messages[4].metadata is None
    made = messages.pop(90)
    assert (made.session_id, made.content, made.role) == (home.session_id, "", "tool")
    assert made.metadata == {"adopted": True}
    assert sorted(messages) == [4, 5], "no message is made up in a real session"
    assert [call.message_id for call in await target.rows(ToolCall)] == [90]
    adjustments = await target.rows(SwitchAdjustment)
    assert [(a.session_id, a.message_id) for a in adjustments] == [("lost", None)] * 2
    kept = [a.after_config["adopted_config"] for a in adjustments]
    assert kept == [{"message_id": 91}, {"message_id": 90}], "one is a tool call's lost message"
    assert [task.session_id for task in await target.rows(BrowserTask)] == [renamed.session_id]
    assert report.tables["operator_session"].made == 3
    assert report.tables["operator_message"].made == 1
    assert report.tables["operator_tool_call"].mended == 1


async def test_rows_of_nulls_are_written_or_refused_by_table(
    untyped: LegacyFile, target: Target
) -> None:
    for table in ("session", "message", "tool_call", "browser_task", "switch_adjustment"):
        untyped.add(table, {"id": None})
    report = await target.adopt(untyped)
    assert {table: (c.written, c.refused) for table, c in report.tables.items()} == {
        "operator_session": (1, 0),
        "operator_message": (1, 0),
        "operator_tool_call": (1, 0),
        "operator_browser_task": (0, 1),
        "operator_switch_adjustment": (0, 1),
    }
    assert report.reasons["operator_browser_task", "refused", "it has no url"] == 1
    sessions = await target.rows(Session)
    assert [session.message_count for session in sessions] == [2]


async def test_database_without_some_tables_and_columns_is_adopted(
    tmp_path: Any, target: Target
) -> None:
    small = LegacyFile(
        tmp_path / "small.db",
        "CREATE TABLE operator_session (session_id TEXT);"
        "CREATE TABLE operator_message (Session_ID TEXT, content TEXT, strange TEXT);"
        "CREATE TABLE operator_tool_call (message_id);"
        "INSERT INTO operator_session VALUES ('abc');"
        "INSERT INTO operator_message VALUES ('abc', 'one', 's'), ('abc', 'two', 's');"
        "INSERT INTO operator_tool_call VALUES ('2');",
    )
    report = await target.adopt(small)
    assert [message.content for message in await target.rows(Message)] == ["one", "two"]
    (call,) = await target.rows(ToolCall)
    assert (call.message_id, call.tool_name, call.status) == (2, "unknown", "pending")
    assert report.tables["operator_browser_task"].read == 0
    assert (await target.adopt(small)).tables["operator_message"].skipped == 2


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
async def test_database_in_utf_16_keeps_its_text(
    tmp_path: Any, target: Target, encoding: str
) -> None:
    legacy = LegacyFile(tmp_path / "wide.db", f"PRAGMA encoding = '{encoding}';" + UNTYPED_SCHEMA)
    legacy.session("abc", id=1)
    legacy.messages("abc", "grüße 🙂", id=1)
    await target.adopt(legacy)
    assert [message.content for message in await target.rows(Message)] == ["grüße 🙂"]
