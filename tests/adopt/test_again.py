"""Adopting twice, grown files, copies, other databases, and targets that are in use already."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

from operator_svc.models import Adopted, BrowserTask, Message, Session, ToolCall
from tests.adopt.conftest import NOON, OldFile, Target

AT_NOON = dt.datetime(2025, 12, 14, 12, tzinfo=dt.UTC)
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


def fill(old: OldFile) -> None:
    """A row in each table, and some that name what is missing."""
    old.session("abc")
    old.messages("abc", "one", "two")
    old.messages("lost", "orphan")
    call = {"tool_name": "t", "status": "ok", "created_at": NOON}
    old.add("tool_call", call | {"message_id": 2}, call | {"message_id": 70})
    old.add("browser_task", {"session_id": "abc", "url": "http://x/", "status": "pending",
                             "created_at": NOON})  # fmt: skip
    old.add("switch_adjustment", {
        "session_id": "lost", "message_id": 71, "before_config": "{}", "after_config": "{}",
        "reason": "r", "created_at": NOON,
    })  # fmt: skip


async def everything(target: Target) -> list[object]:
    return [await target.rows(kind) for kind in (Session, Message, ToolCall, BrowserTask, Adopted)]


async def test_a_second_run_changes_nothing(old: OldFile, target: Target) -> None:
    fill(old)
    await target.adopt(old)
    before = await everything(target)
    report = await target.adopt(old)
    assert await everything(target) == before
    for counts in report.tables.values():
        assert counts.read == counts.skipped > 0
        assert counts.written == counts.made == 0


async def test_a_copy_that_has_grown_brings_only_what_is_new(
    old: OldFile, target: Target, tmp_path: Path
) -> None:
    fill(old)
    await target.adopt(old)
    copy = tmp_path / "elsewhere.db"
    shutil.copyfile(old.path, copy)
    old.path = copy
    # The first rows are gone, and what was pending is done.
    old.run("DELETE FROM operator_session; DELETE FROM operator_message WHERE id = 1;"
            "UPDATE operator_browser_task SET status = 'done'")  # fmt: skip
    old.session("abc", updated_at="2025-12-14 20:00:00")
    old.session("new")
    old.messages("abc", "three", created_at="2025-12-14 13:00:00")
    old.messages("lost", "orphan too")
    old.add("tool_call", {"message_id": 70, "tool_name": "t2", "status": "ok", "created_at": NOON})
    report = await target.adopt(old)
    assert [counts.written for counts in report.tables.values()] == [1, 2, 1, 0, 0]
    assert [counts.made for counts in report.tables.values()] == [0] * 5
    messages = await target.rows(Message)
    assert [m.content for m in messages if m.session_id == "abc"] == ["one", "two", "three"]
    sessions = {session.session_id: session for session in await target.rows(Session)}
    assert sessions["abc"].message_count == 3
    assert sessions["lost"].message_count == 2
    assert len({row.source for row in await target.rows(Adopted)}) == 1
    assert [task.status for task in await target.rows(BrowserTask)] == ["failed"]


async def test_copies_that_grew_apart_bring_what_each_has(
    old: OldFile, target: Target, tmp_path: Path
) -> None:
    old.session("abc")
    old.messages("abc", "shared")
    other = tmp_path / "fork.db"
    shutil.copyfile(old.path, other)
    old.messages("abc", "here")
    await target.adopt(old)
    old.path = other
    old.messages("abc", "there")
    await target.adopt(old)
    assert [m.content for m in await target.rows(Message)] == ["shared", "here", "there"]


async def test_what_was_deleted_stays_gone(old: OldFile, target: Target) -> None:
    fill(old)
    old.session("stays")
    old.messages("stays", "x")
    await target.adopt(old)
    await target.run("DELETE FROM operator_session WHERE session_id = 'abc'")
    await target.run("DELETE FROM operator_session WHERE session_id = 'lost'")
    old.messages("abc", "late")
    old.messages("lost", "late")
    old.add("tool_call", {"message_id": 1, "tool_name": "t", "status": "ok", "created_at": NOON})
    old.add("browser_task", {"session_id": "abc", "url": "http://y/", "status": "done",
                             "created_at": NOON})  # fmt: skip
    before = await everything(target)
    report = await target.adopt(old)
    assert await everything(target) == before
    assert sum(counts.written + counts.made for counts in report.tables.values()) == 0
    skipped = {key: n for key, n in report.reasons.items() if "deleted" in key[2]}
    assert skipped == {
        ("operator_message", "skipped", "its session was deleted since"): 2,
        ("operator_tool_call", "skipped", "its message was deleted since"): 1,
        ("operator_browser_task", "skipped", "its session was deleted since"): 1,
    }


async def test_two_databases_with_the_same_ids(
    old: OldFile, target: Target, tmp_path: Path
) -> None:
    second = OldFile(tmp_path / "second.db")
    for file, name in ((old, "first"), (second, "second")):
        file.session(name)
        file.messages(name, f"{name} 1", f"{name} 2")
        file.messages("lost", f"{name} orphan")
        file.add("tool_call", {"message_id": 2, "tool_name": name, "status": "ok",
                               "created_at": NOON})  # fmt: skip
        file.add("browser_task", {"session_id": name, "url": f"http://{name}/", "status": "done",
                                  "created_at": NOON})  # fmt: skip
    await target.adopt(old)
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
    await target.adopt(old)
    assert await everything(target) == before


async def test_ids_that_are_taken_are_replaced_and_the_order_stays(
    old: OldFile, target: Target
) -> None:
    await live(target, "live", "a", "b", "c")
    old.session("abc", id=1)
    old.session("later", id=2)
    for number in (2, 3, 5, 8):
        old.messages("abc", str(number), id=number)
    old.messages("later", "kept", id=9)
    report = await target.adopt(old)
    messages = await target.rows(Message)
    assert [m.content for m in messages if m.session_id == "abc"] == ["2", "3", "5", "8"]
    assert [m.id for m in messages if m.session_id == "later"] == [9]
    assert [m.content for m in messages if m.session_id == "live"] == ["a", "b", "c"]
    assert report.reasons["operator_message", "mended", "its id was taken"] == 4
    sessions = {session.session_id: session.id for session in await target.rows(Session)}
    assert len(set(sessions.values())) == 3
    assert sessions["later"] == 2
    # What grows in a session whose ids were replaced still comes last.
    old.messages("abc", "10", id=10)
    await target.adopt(old)
    messages = await target.rows(Message)
    assert [m.content for m in messages if m.session_id == "abc"] == ["2", "3", "5", "8", "10"]


async def test_new_rows_get_ids_after_the_old_ones(old: OldFile, target: Target) -> None:
    old.session("abc", id=40)
    old.messages("abc", "old", id=500)
    old.add("tool_call", {"message_id": 900, "tool_name": "t", "status": "ok", "created_at": NOON})
    await target.adopt(old)
    await live(target, "live", "new")
    messages = {message.content: message.id for message in await target.rows(Message)}
    assert messages["old"] == 500
    assert messages["new"] > 900
    sessions = {session.session_id: session.id for session in await target.rows(Session)}
    assert sessions["live"] > 40


async def test_a_session_that_went_on_here_is_joined(old: OldFile, target: Target) -> None:
    await live(target, "abc", "new")
    old.session("abc", source="cli")
    old.messages("abc", "old", id=50)
    report = await target.adopt(old)
    (session,) = await target.rows(Session)
    assert (session.source, session.created_at) == ("cli", AT_NOON)
    assert session.updated_at == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert session.message_count == 1  # the live rows of this test were not counted
    assert {m.content for m in await target.rows(Message)} == {"new", "old"}
    assert report.tables["operator_session"].joined == 1


async def test_a_session_of_somebody_else_is_left_alone(old: OldFile, target: Target) -> None:
    await live(target, "abc", "secret", user_id="ana")
    old.session("abc", user_id="bob")
    old.messages("abc", "bob's", id=50)
    await target.adopt(old)
    theirs, ours = await target.rows(Session)
    assert (theirs.session_id, theirs.user_id) == ("abc", "ana")
    assert (ours.user_id, ours.metadata) == ("bob", {"adopted_session_id": "abc"})
    where = {message.content: message.session_id for message in await target.rows(Message)}
    assert where == {"secret": "abc", "bob's": ours.session_id}
    before = await everything(target)
    await target.adopt(old)
    assert await everything(target) == before


async def test_a_dry_run_tells_the_same_and_writes_nothing(old: OldFile, target: Target) -> None:
    await live(target, "abc", "new")
    fill(old)
    before = await everything(target)
    told = await target.adopt(old, dry_run=True)
    assert await everything(target) == before
    done = await target.adopt(old)
    assert told == done
    after = await everything(target)
    told = await target.adopt(old, dry_run=True)
    assert await everything(target) == after
    assert sum(counts.written for counts in told.tables.values()) == 0
