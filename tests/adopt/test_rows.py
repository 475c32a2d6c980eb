"""Each kind of old row becomes a new one, on both engines."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from operator_svc.models import (
    BrowserTask,
    Message,
    Session,
    SwitchAdjustment,
    SwitchFeedback,
    ToolCall,
)
from operator_svc.services.search_indexer import SearchIndexer
from operator_svc.stores.search import SearchIndexStore
from operator_svc.stores.sessions import NEWEST, SessionStore
from tests.adopt.conftest import LOOSE, NOON, OldFile, Target

AT_NOON = dt.datetime(2025, 12, 14, 12, tzinfo=dt.UTC)


async def test_all_tables_come_with_their_ids_and_times(old: OldFile, target: Target) -> None:
    old.session("abc", id=7, user_id="ana", source="cli", updated_at="2025-12-14 13:00:00.5")
    old.messages("abc", "hello", id=11, created_at="2025-12-14 12:00:01.123456")
    old.messages(
        "abc", "hi there", id=12, role="assistant", message_metadata='{"provider": "local"}'
    )
    old.add(
        "tool_call",
        {"id": 3, "message_id": 12, "tool_name": "switch", "status": "ok", "duration_ms": 15,
         "result": '{"n": [1, 2.50, "é"]}', "error": None, "created_at": NOON},
    )  # fmt: skip
    old.add(
        "browser_task",
        {"id": 5, "session_id": "abc", "url": "https://example.org/", "status": "done",
         "result": '{"title": "Example", "text": "words"}', "created_at": NOON,
         "executed_at": "2025-12-14 12:00:09"},
    )  # fmt: skip
    old.add(
        "switch_adjustment",
        {"id": 9, "session_id": "abc", "message_id": 12, "before_config": '{"mode": "ECO"}',
         "after_config": '{"mode": "BALANCED"}', "reason": "slow", "applied": 1,
         "created_at": NOON, "applied_at": "2025-12-14 12:00:10"},
    )  # fmt: skip

    report = await target.adopt(old)

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


async def test_adopted_text_is_found(old: OldFile, target: Target) -> None:
    old.session("abc")
    old.session("other")
    old.messages("abc", "the quick brown fox")
    old.messages("other", "the lazy dog")
    await target.adopt(old)
    async with target.open() as database:
        await SearchIndexer(SearchIndexStore(database)).run()
        page = await SessionStore(database).page(
            user_id=None, words="brown quick", before=NEWEST, limit=10
        )
    assert [session.session_id for session in page] == ["abc"]


async def test_sessions_come_in_the_order_of_their_last_message(
    old: OldFile, target: Target
) -> None:
    old.session("early")
    old.session("late")
    old.messages("late", "x", created_at="2025-12-14 12:00:00")
    old.messages("early", "x", created_at="2025-12-14 19:00:00")
    await target.adopt(old)
    async with target.open() as database:
        page = await SessionStore(database).page(user_id=None, words=None, before=NEWEST, limit=9)
    assert [session.session_id for session in page] == ["early", "late"]


async def test_duplicate_sessions_become_one(old: OldFile, target: Target) -> None:
    old.session("twice", created_at="2025-12-14 12:00:00", user_id="late", source="web",
                updated_at="2025-12-14 12:30:00")  # fmt: skip
    old.session("twice", created_at="2025-12-14 09:00:00", user_id="early", source="cli",
                updated_at="2025-12-14 09:30:00")  # fmt: skip
    old.session("twice", created_at="2025-12-14T11:00:00+02:00", user_id="early", source="api",
                updated_at="2025-12-14 18:00:00")  # fmt: skip
    old.messages("twice", "a", "b")
    report = await target.adopt(old)
    (session,) = await target.rows(Session)
    assert (session.id, session.user_id, session.source) == (2, "early", "cli")
    assert session.created_at == AT_NOON - dt.timedelta(hours=3)
    assert session.updated_at == AT_NOON + dt.timedelta(hours=6)
    assert session.message_count == 2
    counts = report.tables["operator_session"]
    assert (counts.read, counts.written, counts.joined) == (3, 1, 2)


async def test_what_is_missing_is_made_and_marked(old: OldFile, target: Target) -> None:
    old.messages("lost", "orphan", id=4, created_at="2025-12-14 10:00:00")
    old.messages("lost", "orphan too", id=5, created_at="2025-12-14 11:00:00")
    old.add("tool_call", {"id": 1, "message_id": 90, "tool_name": "x", "status": "ok",
                          "created_at": NOON})  # fmt: skip
    old.add("browser_task", {"session_id": "lost too", "url": "http://x/", "status": "done",
                             "created_at": NOON})  # fmt: skip
    old.add("switch_adjustment", {"session_id": "lost", "message_id": 91, "before_config": "{}",
                                  "after_config": "{}", "reason": "r", "applied": 0,
                                  "created_at": NOON})  # fmt: skip
    old.add("switch_adjustment", {"session_id": "lost", "message_id": 90, "before_config": "{}",
                                  "after_config": "{}", "reason": "r", "applied": 0,
                                  "created_at": NOON})  # fmt: skip
    report = await target.adopt(old)
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


METADATA: list[tuple[str | None, Any]] = [
    ('{"a": 1', {"adopted_metadata": '{"a": 1'}),
    ("plain words", {"adopted_metadata": "plain words"}),
    ("[1, 2]", {"adopted_metadata": [1, 2]}),
    ('"text"', {"adopted_metadata": "text"}),
    ("NaN", {"adopted_metadata": "NaN"}),
    ('{"a": 1e999}', {"adopted_metadata": '{"a": 1e999}'}),
    ('{"a": 1E-9999}', {"a": 0.0}),
    ('{"a": 12345678901234567890123}', {"a": 12345678901234567890123}),
    ('{"a": "\\u0000", "b\\u0000": 1}', {"a": "\ufffd", "b\ufffd": 1}),
    ('{"a": "\\ud83d\\ude00 \\ud83d"}', {"a": "\U0001f600 \ufffd"}),
    ("[" * 101 + "]" * 101, {"adopted_metadata": "[" * 101 + "]" * 101}),
    ("[" * 50_000, {"adopted_metadata": "[" * 50_000}),
    ('{"a": "' + "[" * 200 + '"}', {"a": "[" * 200}),
    ("9" * 5000, {"adopted_metadata": "9" * 5000}),
    ("", None),
    ("  ", None),
    ("null", None),
    (None, None),
]


async def test_metadata_is_an_object_and_loses_nothing(old: OldFile, target: Target) -> None:
    old.session("abc")
    for old_text, _ in METADATA:
        old.messages("abc", "x", message_metadata=old_text)
    await target.adopt(old)
    found = [message.metadata for message in await target.rows(Message)]
    assert found == [metadata for _, metadata in METADATA]


async def test_a_result_that_is_broken_is_kept_as_text(old: OldFile, target: Target) -> None:
    old.session("abc")
    old.messages("abc", "x")
    call = {"message_id": 1, "tool_name": "t", "status": "ok", "created_at": NOON}
    old.add("tool_call", call | {"result": "{'a': 1}"}, call | {"result": "[1]"})
    task = {"session_id": "abc", "url": "http://x/", "status": "done", "created_at": NOON}
    old.add("browser_task", task | {"result": "<html>"}, task | {"result": "[1]"})
    old.add("switch_adjustment", {"session_id": "abc", "before_config": "ECO", "after_config": "7",
                                  "reason": "r", "created_at": NOON})  # fmt: skip
    await target.adopt(old)
    assert [call.result for call in await target.rows(ToolCall)] == ["{'a': 1}", [1]]
    assert [task.result for task in await target.rows(BrowserTask)] == [
        {"text": "<html>", "text_snippet": "<html>"},
        {"adopted_result": [1]},
    ]
    (change,) = await target.rows(SwitchAdjustment)
    assert change.before_config == {"adopted_config": "ECO"}
    assert change.after_config == {"adopted_config": 7}


TASKS = [
    ("pending", "failed", "adopted"),
    ("running", "failed", "adopted"),
    ("done", "completed", None),
    ("completed", "completed", None),
    ("error", "failed", None),
    ("Timeout", "timeout", None),
    ("canceled", "cancelled", None),
    ("strange", "failed", "its old status was strange"),
    (None, "failed", "its old status was missing"),
]


async def test_states_of_tasks(old: OldFile, target: Target) -> None:
    old.session("abc")
    for status, _, _ in TASKS:
        old.add("browser_task", {"session_id": "abc", "url": "http://x/", "status": status,
                                 "created_at": NOON})  # fmt: skip
    await target.adopt(old)
    tasks = await target.rows(BrowserTask)
    assert [(task.status, task.error) for task in tasks] == [(new, why) for _, new, why in TASKS]
    assert all(task.completed_at is not None and task.owner is None for task in tasks)


CALLS = [
    ("ok", None, None, "ok"),
    ("pending", None, None, "pending"),
    ("Success", None, None, "ok"),
    ("failed", None, None, "error"),
    ("strange", "it broke", None, "error"),
    (None, None, "{}", "ok"),
    (None, None, None, "pending"),
]


async def test_states_of_tool_calls(old: OldFile, target: Target) -> None:
    old.session("abc")
    old.messages("abc", "x")
    for status, error, result, _ in CALLS:
        old.add("tool_call", {"message_id": 1, "tool_name": "t", "status": status,
                              "error": error, "result": result, "created_at": NOON})  # fmt: skip
    await target.adopt(old)
    calls = await target.rows(ToolCall)
    assert [(call.status, call.error) for call in calls] == [(new, e) for _, e, _, new in CALLS]
    assert all((call.finished_at is None) == (call.status == "pending") for call in calls)


ROLES: list[tuple[str, str, Any]] = [
    ("assistant", "assistant", None),
    ("User", "user", {"adopted_role": "User"}),
    (" bot ", "assistant", {"adopted_role": " bot "}),
    ("narrator", "user", {"adopted_role": "narrator"}),
]


async def test_roles(old: OldFile, target: Target) -> None:
    old.session("abc")
    for role, _, _ in ROLES:
        old.messages("abc", "x", role=role)
    report = await target.adopt(old)
    found = [(message.role, message.metadata) for message in await target.rows(Message)]
    assert found == [(new, kept) for _, new, kept in ROLES]
    assert report.tables["operator_message"].mended == len(ROLES) - 1


NAMES = ["mi sesión", "a/b", "x" * 65, "a\0b", "ü", "a\nb", "🙂" * 80, "a b", "a_b", "a-b"]
GOOD_NAMES = {"a_b", "a-b"}


async def test_session_ids_that_break_the_rule_are_replaced(old: OldFile, target: Target) -> None:
    for name in NAMES:
        old.session(name)
        old.messages(name, name.replace("\0", "\ufffd"))
    report = await target.adopt(old)
    sessions = {session.session_id: session for session in await target.rows(Session)}
    assert len(sessions) == len(NAMES)
    for message in await target.rows(Message):
        session = sessions.pop(message.session_id)
        assert session.message_count == 1
        if message.content in GOOD_NAMES:
            assert (session.session_id, session.metadata) == (message.content, None)
        else:
            assert session.metadata == {"adopted_session_id": message.content}
    assert not sessions
    assert report.tables["operator_session"].mended == len(NAMES) - len(GOOD_NAMES)


async def test_text_that_can_not_be_stored_is_mended(old: OldFile, target: Target) -> None:
    old.session("abc", user_id="a\0na")
    old.run(
        "INSERT INTO operator_message (session_id, role, content, created_at) VALUES"
        " ('abc', 'user', CAST(x'61004200' AS TEXT), '2025-12-14 12:00:00'),"
        " ('abc', 'user', CAST(x'eda0bdedb880ff' AS TEXT), '2025-12-14 12:00:00'),"
        " ('abc', 'user', CAST(x'61eda0bd62' AS TEXT), '2025-12-14 12:00:00'),"
        " ('abc', 'user', x'68c3a9', '2025-12-14 12:00:00'),"
        " ('abc', 'user', 12.5, '2025-12-14 12:00:00')"
    )
    report = await target.adopt(old)
    (session,) = await target.rows(Session)
    assert session.user_id == "a\ufffdna"
    assert session.metadata == {"adopted_user_id": "a\ufffdna"}
    assert [message.content for message in await target.rows(Message)] == [
        "a\ufffdB\ufffd", "\ufffd" * 7, "a\ufffdb", "hé", "12.5",
    ]  # fmt: skip
    assert report.tables["operator_message"].mended == 4


TIMES: list[tuple[object, dt.datetime]] = [
    ("2025-12-14 12:00:00.000001", AT_NOON + dt.timedelta(microseconds=1)),
    ("2025-12-14T12:00:00Z", AT_NOON),
    ("2025-12-14T07:00:00-05:00", AT_NOON),
    ("2025-12-14", AT_NOON - dt.timedelta(hours=12)),
    (1765713600, AT_NOON),
    (1765713600000, AT_NOON),
    (1765713600.25, AT_NOON + dt.timedelta(seconds=0.25)),
    ("2025-12-14 12:00:00", AT_NOON),
    # What is no time has that of the message before.
    ("0001-01-01T00:00:00+05:00", AT_NOON),
    ("yesterday", AT_NOON),
    (1e30, AT_NOON),
    (b"\xff", AT_NOON),
    (None, AT_NOON),
]


async def test_times(loose: OldFile, target: Target) -> None:
    loose.session("abc", id=1)
    for number, (value, _) in enumerate(TIMES, 1):
        loose.messages("abc", "x", id=number, created_at=value)
    report = await target.adopt(loose)
    assert [message.created_at for message in await target.rows(Message)] == [t for _, t in TIMES]
    assert report.reasons["operator_message", "mended", "created_at was missing"] == 5


DURATIONS: list[tuple[object, int | None]] = [
    (15, 15), (-1, None), (2.6, 3), ("17", 17), ("x", None), (1e300, None), (2**62, None),
    (float("inf"), None), (None, None),
]  # fmt: skip


async def test_durations(loose: OldFile, target: Target) -> None:
    loose.session("abc", id=1)
    loose.messages("abc", "x", id=1)
    for number, (value, _) in enumerate(DURATIONS, 1):
        loose.add("tool_call", {"id": number, "message_id": 1, "tool_name": "t", "status": "ok",
                                "duration_ms": value, "created_at": NOON})  # fmt: skip
    await target.adopt(loose)
    found = [call.duration_ms for call in await target.rows(ToolCall)]
    assert found == [new for _, new in DURATIONS]


APPLIED: list[tuple[object, bool]] = [
    (1, True), (0, False), (2, True), ("true", True), ("False", False), (None, False),
    ("maybe", False),
]  # fmt: skip


async def test_applied(loose: OldFile, target: Target) -> None:
    for number, (value, _) in enumerate(APPLIED, 1):
        loose.add("switch_adjustment", {
            "id": number, "before_config": "{}", "after_config": "{}", "reason": "r",
            "applied": value, "created_at": NOON,
        })  # fmt: skip
    await target.adopt(loose)
    changes = await target.rows(SwitchAdjustment)
    assert [change.applied for change in changes] == [new for _, new in APPLIED]
    assert {change.session_id for change in changes} == {None}


async def test_nothing_but_nulls(loose: OldFile, target: Target) -> None:
    for table in ("session", "message", "tool_call", "browser_task", "switch_adjustment"):
        loose.add(table, {"id": None})
    report = await target.adopt(loose)
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


async def test_feedback_in_the_table_of_changes_becomes_feedback(
    loose: OldFile, target: Target
) -> None:
    loose.session("abc", id=1)
    loose.messages("abc", "x", id=1)
    both = {"before_config": "{}", "after_config": '{"mode": "ECO"}', "reason": "slow"}
    loose.add(
        "switch_adjustment",
        {"id": 1, "session_id": "abc", "message_id": 1, "engine_used": "local", "success": 1,
         "latency_ms": 120, "tokens_used": 40, "feedback_timestamp": NOON},
        {"id": 2, "session_id": "abc", "engine_used": "cli", "success": None, "latency_ms": -3,
         "tokens_used": None, "error_message": "no answer", "created_at": NOON},
        both | {"id": 3, "engine_used": "hybrid", "success": "yes", "created_at": NOON},
    )  # fmt: skip
    report = await target.adopt(loose)
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
    assert (await target.adopt(loose)).tables["operator_switch_adjustment"].skipped == 3


async def test_the_columns_that_the_old_code_wrote_too(loose: OldFile, target: Target) -> None:
    loose.session("abc", id=1)
    loose.add(
        "browser_task",
        {"id": "0b1c2d3e-0000-4000-8000-000000000000", "session_id": "abc", "url": "http://x/",
         "status": "error", "error_message": "no route", "screenshot_path": "/shots/1.png",
         "text_snippet": "some words", "created_at": NOON, "completed_at": "2025-12-14 12:01:00"},
        {"id": "an id with spaces", "session_id": None, "url": "http://y/", "status": "done",
         "created_at": NOON},
    )  # fmt: skip
    await target.adopt(loose)
    second, first = sorted(await target.rows(BrowserTask), key=lambda task: task.url, reverse=True)
    assert first.task_id == "0b1c2d3e-0000-4000-8000-000000000000"
    assert (first.status, first.error) == ("failed", "no route")
    assert first.result == {
        "text_snippet": "some words", "adopted_snapshot_path": "/shots/1.png"
    }  # fmt: skip
    assert first.completed_at == AT_NOON + dt.timedelta(minutes=1)
    assert second.task_id.startswith("an-id-with-spaces-")
    assert second.session_id is None
    assert second.user_id == "local"


async def test_fields_of_a_result_have_the_type_that_lists_expect(
    old: OldFile, target: Target
) -> None:
    old.session("abc")
    old.add("browser_task", {
        "session_id": "abc", "url": "http://x/", "status": "done", "created_at": NOON,
        "result": '{"http_status": "200 OK", "title": 5, "links": {}, "text": ["a"], "own": 1}',
    })  # fmt: skip
    await target.adopt(old)
    (task,) = await target.rows(BrowserTask)
    assert task.result == {
        "adopted_http_status": "200 OK", "adopted_title": 5, "adopted_links": {},
        "adopted_text": ["a"], "own": 1,
    }  # fmt: skip


async def test_tables_and_columns_may_lack(tmp_path: Any, target: Target) -> None:
    small = OldFile(
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
async def test_files_in_utf_16(tmp_path: Any, target: Target, encoding: str) -> None:
    old = OldFile(tmp_path / "wide.db", f"PRAGMA encoding = '{encoding}';" + LOOSE)
    old.session("abc", id=1)
    old.messages("abc", "grüße 🙂", id=1)
    await target.adopt(old)
    assert [message.content for message in await target.rows(Message)] == ["grüße 🙂"]


async def test_ids_that_can_not_be_ours_are_replaced_and_the_order_stays(
    old: OldFile, target: Target
) -> None:
    old.session("abc", id=-3)
    for number in (-5, 0, 3, 4, 2**60):
        old.messages("abc", f"no {number}", id=number)
    old.add("tool_call", *(
        {"message_id": n, "tool_name": str(n), "status": "ok", "created_at": NOON}
        for n in (-5, 3, 2**60)
    ))  # fmt: skip
    await target.adopt(old)
    messages = await target.rows(Message)
    assert [message.content for message in messages] == [
        "no -5", "no 0", "no 3", "no 4", f"no {2**60}",
    ]  # fmt: skip
    assert all(0 < message.id < 2**53 for message in messages)
    named = {message.id: message.content for message in messages}
    for call in await target.rows(ToolCall):
        assert named[call.message_id] == f"no {call.tool_name}"
    (session,) = await target.rows(Session)
    assert session.id > 0
