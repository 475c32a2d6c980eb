"""Adopting twice, grown files, copies, other databases, and targets that are in use already."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

from operator_svc.models import (
    Adopted,
    BrowserTask,
    Message,
    Session,
    SwitchAdjustment,
    ToolCall,
)
from tests.adopt.conftest import AT_NOON, NOON, LegacyFile, Target

NEW_SESSION = (
    "INSERT INTO operator_session (session_id, epoch, user_id, source, created_at, updated_at,"
    " active_at) VALUES (:name, '00000000-0000-4000-8000-000000000000', :user_id, 'api', :at,"
    " :at, :at)"
)
NEW_MESSAGE = (
    "INSERT INTO operator_message (session_id, role, content, status, created_at)"
    " VALUES (:name, 'user', :content, 'complete', :at)"
)


async def live(target: Target, name: str, *texts: str, user_id: str = "local") -> None:
    """The rows that the new Operator itself has written."""
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    await target.run(NEW_SESSION, name=name, user_id=user_id, at=at)
    for text in texts:
        await target.run(NEW_MESSAGE, name=name, content=text, at=at)


def fill(legacy: LegacyFile) -> None:
    """A row in each table, and some that name what is missing."""
    legacy.session("abc")
    legacy.messages("abc", "one", "two")
    legacy.messages("lost", "orphan")
    call = {"tool_name": "t", "status": "ok", "created_at": NOON}
    legacy.add("tool_call", call | {"message_id": 2}, call | {"message_id": 70})
    legacy.add("browser_task", {"session_id": "abc", "url": "http://x/", "status": "pending",
                             "created_at": NOON})  # fmt: skip
    legacy.add("switch_adjustment", {
        "session_id": "lost", "message_id": 71, "before_config": "{}", "after_config": "{}",
        "reason": "r", "created_at": NOON,
    })  # fmt: skip


async def everything(target: Target) -> list[object]:
    return [await target.rows(kind) for kind in (Session, Message, ToolCall, BrowserTask, Adopted)]


async def test_database_adopted_again_changes_nothing(legacy: LegacyFile, target: Target) -> None:
    fill(legacy)
    await target.adopt(legacy)
    before = await everything(target)
    report = await target.adopt(legacy)
    assert await everything(target) == before
    for counts in report.tables.values():
        assert counts.read == counts.skipped > 0
        assert counts.written == counts.made == 0


async def test_copy_that_has_grown_brings_only_new_rows(
    legacy: LegacyFile, target: Target, tmp_path: Path
) -> None:
    fill(legacy)
    await target.adopt(legacy)
    copy = tmp_path / "elsewhere.db"
    shutil.copyfile(legacy.path, copy)
    legacy.path = copy
    # The first rows are gone, and what was pending is done.
    legacy.run("DELETE FROM operator_session; DELETE FROM operator_message WHERE id = 1;"
            "UPDATE operator_browser_task SET status = 'done'")  # fmt: skip
    legacy.session("abc", updated_at="2025-12-14 20:00:00")
    legacy.session("new")
    legacy.messages("abc", "three", created_at="2025-12-14 13:00:00")
    legacy.messages("lost", "orphan too")
    legacy.add(
        "tool_call", {"message_id": 70, "tool_name": "t2", "status": "ok", "created_at": NOON}
    )
    report = await target.adopt(legacy)
    assert [counts.written for counts in report.tables.values()] == [1, 2, 1, 0, 0]
    assert [counts.made for counts in report.tables.values()] == [0] * 5
    messages = await target.rows(Message)
    assert [m.content for m in messages if m.session_id == "abc"] == ["one", "two", "three"]
    sessions = {session.session_id: session for session in await target.rows(Session)}
    assert sessions["abc"].message_count == 3
    assert sessions["lost"].message_count == 2
    assert len({row.source for row in await target.rows(Adopted)}) == 1
    assert [task.status for task in await target.rows(BrowserTask)] == ["failed"]


async def test_copies_that_grew_apart_bring_the_rows_of_each(
    legacy: LegacyFile, target: Target, tmp_path: Path
) -> None:
    legacy.session("abc")
    legacy.messages("abc", "shared")
    other = tmp_path / "fork.db"
    shutil.copyfile(legacy.path, other)
    legacy.messages("abc", "here")
    await target.adopt(legacy)
    legacy.path = other
    legacy.messages("abc", "there")
    await target.adopt(legacy)
    assert [m.content for m in await target.rows(Message)] == ["shared", "here", "there"]


async def test_rows_deleted_after_adoption_stay_deleted(legacy: LegacyFile, target: Target) -> None:
    fill(legacy)
    legacy.session("stays")
    legacy.messages("stays", "x")
    await target.adopt(legacy)
    await target.run("DELETE FROM operator_session WHERE session_id = 'abc'")
    await target.run("DELETE FROM operator_session WHERE session_id = 'lost'")
    legacy.messages("abc", "late")
    legacy.messages("lost", "late")
    legacy.add("tool_call", {"message_id": 1, "tool_name": "t", "status": "ok", "created_at": NOON})
    legacy.add("browser_task", {"session_id": "abc", "url": "http://y/", "status": "done",
                             "created_at": NOON})  # fmt: skip
    before = await everything(target)
    report = await target.adopt(legacy)
    assert await everything(target) == before
    assert sum(counts.written + counts.made for counts in report.tables.values()) == 0
    skipped = {key: n for key, n in report.reasons.items() if "deleted" in key[2]}
    assert skipped == {
        ("operator_message", "skipped", "its session was deleted since"): 2,
        ("operator_tool_call", "skipped", "its message was deleted since"): 1,
        ("operator_browser_task", "skipped", "its session was deleted since"): 1,
    }


async def test_refused_rows_make_no_session_and_touch_none(
    untyped: LegacyFile, target: Target
) -> None:
    untyped.messages("known", "x")
    await target.adopt(untyped)
    before = await everything(target)
    for name in ("known", "unknown"):
        untyped.add("browser_task", {"session_id": name, "url": ""})
        untyped.add("switch_adjustment", {"session_id": name, "engine_used": ""})
    report = await target.adopt(untyped)
    assert await everything(target) == before
    assert sum(counts.refused for counts in report.tables.values()) == 4
    assert sum(counts.made for counts in report.tables.values()) == 0


async def test_an_invalid_time_in_a_file_that_has_grown_is_that_of_the_row_before(
    untyped: LegacyFile, target: Target
) -> None:
    rows: dict[str, dict[str, object]] = {
        "message": {"session_id": "abc", "content": "x"},
        "tool_call": {"message_id": 1, "tool_name": "t"},
        "browser_task": {"session_id": "abc", "url": "http://x/"},
        "switch_adjustment": {"session_id": "abc", "reason": "r"},
    }
    for number, at in ((1, NOON), (2, "never")):
        for table, row in rows.items():
            untyped.add(table, {"id": number, "created_at": at, **row})
        await target.adopt(untyped)
    kinds: tuple[type[Any], ...] = (Message, ToolCall, BrowserTask, SwitchAdjustment)
    for kind in kinds:
        assert [row.created_at for row in await target.rows(kind)] == [AT_NOON] * 2, kind
    (session,) = await target.rows(Session)
    assert session.active_at == AT_NOON


async def test_databases_with_the_same_ids_are_both_adopted(
    legacy: LegacyFile, target: Target, tmp_path: Path
) -> None:
    second = LegacyFile(tmp_path / "second.db")
    for file, name in ((legacy, "first"), (second, "second")):
        file.session(name)
        file.messages(name, f"{name} 1", f"{name} 2")
        file.messages("lost", f"{name} orphan")
        file.add("tool_call", {"message_id": 2, "tool_name": name, "status": "ok",
                               "created_at": NOON})  # fmt: skip
        file.add("browser_task", {"session_id": name, "url": f"http://{name}/", "status": "done",
                                  "created_at": NOON})  # fmt: skip
    await target.adopt(legacy)
    await target.adopt(second)
    messages = await target.rows(Message)
    assert [m.content for m in messages if m.session_id == "second"] == ["second 1", "second 2"]
    named = {message.id: message.content for message in messages}
    assert {(c.tool_name, named[c.message_id]) for c in await target.rows(ToolCall)} == {
        ("first", "first 2"), ("second", "second 2"),
    }  # fmt: skip
    tasks = {task.url: task.task_id for task in await target.rows(BrowserTask)}
    assert tasks["http://first/"] == "1"
    assert tasks["http://second/"].startswith("1-")
    before = await everything(target)
    await target.adopt(second)
    await target.adopt(legacy)
    assert await everything(target) == before


async def test_message_ids_that_are_taken_are_replaced_in_order(
    legacy: LegacyFile, target: Target
) -> None:
    await live(target, "live", "a", "b", "c")
    legacy.session("abc", id=1)
    legacy.session("later", id=2)
    for number in (2, 3, 5, 8):
        legacy.messages("abc", str(number), id=number)
    legacy.messages("later", "kept", id=9)
    report = await target.adopt(legacy)
    messages = await target.rows(Message)
    assert [m.content for m in messages if m.session_id == "abc"] == ["2", "3", "5", "8"]
    assert [m.id for m in messages if m.session_id == "later"] == [9]
    assert [m.content for m in messages if m.session_id == "live"] == ["a", "b", "c"]
    assert report.reasons["operator_message", "mended", "its id was taken"] == 4
    sessions = {session.session_id: session.id for session in await target.rows(Session)}
    assert len(set(sessions.values())) == 3
    assert sessions["later"] == 2
    # What grows in a session whose ids were replaced still comes last.
    legacy.messages("abc", "10", id=10)
    await target.adopt(legacy)
    messages = await target.rows(Message)
    assert [m.content for m in messages if m.session_id == "abc"] == ["2", "3", "5", "8", "10"]


async def test_rows_written_after_adoption_get_higher_ids(
    legacy: LegacyFile, target: Target
) -> None:
    legacy.session("abc", id=40)
    legacy.messages("abc", "old", id=500)
    legacy.add(
        "tool_call", {"message_id": 900, "tool_name": "t", "status": "ok", "created_at": NOON}
    )
    await target.adopt(legacy)
    await live(target, "live", "new")
    messages = {message.content: message.id for message in await target.rows(Message)}
    assert messages["old"] == 500
    assert messages["new"] > 900
    sessions = {session.session_id: session.id for session in await target.rows(Session)}
    assert sessions["live"] > 40


async def test_session_of_the_same_user_is_joined(legacy: LegacyFile, target: Target) -> None:
    await live(target, "abc", "new")
    legacy.session("abc", source="cli")
    legacy.messages("abc", "old", id=50)
    report = await target.adopt(legacy)
    (session,) = await target.rows(Session)
    assert (session.source, session.created_at) == ("cli", AT_NOON)
    assert session.updated_at == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert session.message_count == 1  # the live rows of this test were not counted
    assert {m.content for m in await target.rows(Message)} == {"new", "old"}
    assert report.tables["operator_session"].joined == 1


async def test_session_id_of_another_user_gets_a_session_of_its_own(
    legacy: LegacyFile, target: Target
) -> None:
    await live(target, "abc", "secret", user_id="ana")
    legacy.session("abc", user_id="bob")
    legacy.messages("abc", "bob's", id=50)
    await target.adopt(legacy)
    theirs, ours = await target.rows(Session)
    assert (theirs.session_id, theirs.user_id) == ("abc", "ana")
    assert (ours.user_id, ours.metadata) == ("bob", {"adopted_session_id": "abc"})
    where = {message.content: message.session_id for message in await target.rows(Message)}
    assert where == {"secret": "abc", "bob's": ours.session_id}
    before = await everything(target)
    await target.adopt(legacy)
    assert await everything(target) == before


async def test_dry_run_reports_the_same_and_writes_nothing(
    legacy: LegacyFile, target: Target
) -> None:
    await live(target, "abc", "new")
    fill(legacy)
    before = await everything(target)
    told = await target.adopt(legacy, dry_run=True)
    assert await everything(target) == before
    done = await target.adopt(legacy)
    assert told == done
    after = await everything(target)
    told = await target.adopt(legacy, dry_run=True)
    assert await everything(target) == after
    assert sum(counts.written for counts in told.tables.values()) == 0
