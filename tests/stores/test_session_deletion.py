"""Deleting sessions: gone at once, then in pieces, by any process, with ids that come again."""

from __future__ import annotations

import asyncio
import uuid

import psycopg
import pytest

from operator_svc.db import Database, connect
from operator_svc.db.migration_files import migration_ids
from operator_svc.db.migrations import rollback
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.settings import Settings
from operator_svc.stores.browser_task_rows import NewTask
from operator_svc.stores.browser_tasks import BrowserTaskStore
from operator_svc.stores.chat_keys import ChatKeyStore
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.sessions import SessionStore
from operator_svc.stores.switch_adjustments import AdjustmentStore
from operator_svc.stores.tool_calls import ToolCallState, ToolCallStore
from tests.fakes.eventually import WITHIN
from tests.stores.large_session import (
    PIECE,
    TABLES,
    another_pod,
    counts,
    fill,
    start_new,
    visible,
)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operator_svc.stores.sessions.SMALL", 10)
    monkeypatch.setattr("operator_svc.stores.sessions.PIECE", PIECE)


async def test_a_large_session_is_gone_at_once_and_its_rows_go_in_pieces(
    database: Database,
) -> None:
    await fill(database, "large", 70, 1000)
    sessions = SessionStore(database)
    assert len(await visible(database, "large", 1000)) > 300
    assert await sessions.delete("large", "bob") is None
    assert await sessions.delete("large", "ana") is not None
    assert await sessions.delete("large", None) is None
    assert await visible(database, "large", 1000) == []
    assert [news.epoch for news in await sessions.news({"large": 70})] == [None]
    left = await counts(database)
    assert left["operator_message"] == 70, "the deletion itself deletes few rows"
    pieces = 0
    while await sessions.delete_piece():
        now = await counts(database)
        gone = {table: left[table] - now[table] for table in TABLES}
        assert max(gone.values()) <= PIECE, gone
        left, pieces = now, pieces + 1
    assert pieces >= 70 // PIECE
    assert set((await counts(database)).values()) == {0}


async def test_a_small_session_goes_in_one_write(database: Database) -> None:
    await fill(database, "small", 4, 1000)
    assert await SessionStore(database).delete("small", None) is not None
    assert set((await counts(database)).values()) == {0}


async def test_running_replies_and_tasks_of_a_large_session_end_with_it(
    database: Database,
) -> None:
    await fill(database, "large", 30, 1000)
    messages, tasks = MessageStore(database), BrowserTaskStore(database)
    assert len(await messages.of_pod("pod")) == 1
    await SessionStore(database).delete("large", None)
    assert await messages.of_pod("pod") == []
    assert await messages.unowned("another") == []
    assert await tasks.claim("pod") is None
    assert await tasks.states(["large1"]) == []


async def test_writes_to_a_deleted_session_find_none(database: Database) -> None:
    await fill(database, "large", 30, 1000)
    await SessionStore(database).delete("large", None)
    before = await counts(database)
    messages = MessageStore(database)
    started = await messages.start(
        session_id="large", viewer=None, content="x", metadata={}, pod_id="pod", key=None,
        exchanges=0, max_chars=1,
    )  # fmt: skip
    assert started is None
    again = await messages.regenerate(
        session_id="large", viewer=None, message_id=1001, pod_id="pod", key=None
    )
    assert again is None
    call = await ToolCallStore(database).record(
        message_id=1001, viewer=None, tool_name="t", state=ToolCallState(status="ok")
    )
    assert call is None
    assert await AdjustmentStore(database).record(
        session_id="large", viewer=None, message_id=None, before_config={}, after_config={},
        reason="x",
    ) is None  # fmt: skip
    task = NewTask(task_id="t", session_id="large", user_id="ana", url="u", options={})
    assert await BrowserTaskStore(database).add(task, None) is None
    with pytest.raises(OperatorError) as refused:
        await BrowserTaskStore(database).add_new(task, str(uuid.uuid4()), "api")
    assert refused.value.code is ErrorCode.CONFLICT
    assert await counts(database) == before


async def test_an_id_is_refused_until_no_row_is_left_and_then_made_anew(
    database: Database,
) -> None:
    await fill(database, "large", 50, 1000)
    sessions, messages = SessionStore(database), MessageStore(database)
    await sessions.delete("large", None)
    with pytest.raises(OperatorError) as refused:
        await start_new(database, "large")
    assert refused.value.code is ErrorCode.CONFLICT
    assert refused.value.retry_after is not None
    while await sessions.delete_piece():
        assert await sessions.get("large") is None
    started = await start_new(database, "large")
    assert started is not None
    assert started.last_seq == 3
    assert len((await messages.page("large", limit=100)).rows) == 2


async def test_keys_of_a_deleted_session_are_free_at_once(database: Database) -> None:
    await fill(database, "large", 30, 1000)
    await SessionStore(database).delete("large", None)
    assert await start_new(database, "other", "large7") is not None
    key = await ChatKeyStore(database).get("ana", "large7")
    assert key is not None
    assert key.session_id == "other"
    while await SessionStore(database).delete_piece():
        pass
    assert (await counts(database))["operator_chat_key"] == 1


async def test_deleted_sessions_take_turns(database: Database) -> None:
    await fill(database, "first", 200, 1000)
    await fill(database, "second", 30, 2000)
    await fill(database, "kept", 5, 3000)
    sessions = SessionStore(database)
    await sessions.delete("first", None)
    await sessions.delete("second", None)
    async with asyncio.timeout(WITHIN):
        while await _has(database, "second"):
            assert await sessions.delete_piece()
    assert await _has(database, "first"), "a small one does not wait for a large one"
    while await sessions.delete_piece():
        pass
    assert not await _has(database, "first")
    assert await _has(database, "kept")


async def _has(database: Database, session_id: str) -> bool:
    async with database.transaction() as tx:
        return bool(
            await tx.fetch("SELECT 1 FROM operator_session WHERE session_id = :s", s=session_id)
        )


async def test_two_processes_and_a_lost_one_delete_a_session_to_its_end(
    postgresql_url: str, postgresql_database: Database
) -> None:
    database = postgresql_database
    for n in range(3):
        await fill(database, f"s{n}", 100, (n + 1) * 1000)
        await SessionStore(database).delete(f"s{n}", None)

    async def work(sessions: SessionStore) -> None:
        while await sessions.delete_piece():
            pass

    async with another_pod(postgresql_url) as lost:
        assert await lost.delete_piece()
    async with another_pod(postgresql_url) as one, another_pod(postgresql_url) as two:
        await asyncio.gather(work(one), work(two))
        await work(one)  # of what the other was at when it found nothing more
    assert set((await counts(database)).values()) == {0}


async def test_a_locked_session_is_passed_over(
    postgresql_url: str, postgresql_database: Database
) -> None:
    sessions = SessionStore(postgresql_database)
    for n, name in enumerate(("locked", "free")):
        await fill(postgresql_database, name, 30, (n + 1) * 1000)
        await sessions.delete(name, None)
    other = await connect(Settings(database_url=postgresql_url))
    async with other.transaction() as tx:
        await tx.fetch("SELECT 1 FROM operator_session WHERE session_id = 'locked' FOR UPDATE")
        async with asyncio.timeout(WITHIN):
            while await sessions.delete_piece():
                pass
        assert await tx.fetch("SELECT session_id FROM operator_session") == [("locked",)]
    await other.aclose()
    while await sessions.delete_piece():
        pass
    assert set((await counts(postgresql_database)).values()) == {0}


async def test_a_session_that_is_imported_into_does_not_expire(
    postgresql_url: str, postgresql_database: Database
) -> None:
    """The rows that come into it would be deleted with it."""
    await fill(postgresql_database, "old", 1, 1000)
    sessions = SessionStore(postgresql_database)
    with psycopg.connect(postgresql_url) as importing:
        importing.execute("SELECT 1 FROM operator_session FOR KEY SHARE")
        assert await sessions.expire(1, 10) == []
    assert len(await sessions.expire(1, 10)) == 1


async def test_sessions_that_nobody_used_expire_and_others_stay(database: Database) -> None:
    await fill(database, "old", 30, 1000)
    await fill(database, "older", 4, 2000)
    await fill(database, "used", 4, 3000)
    async with database.transaction() as tx:  # by a tool call: it moves no place in the list
        await tx.execute(
            "UPDATE operator_session SET updated_at = '2999-01-01T00:00:00.000000Z'"
            " WHERE session_id = 'used'"
        )
    sessions = SessionStore(database)
    assert await sessions.expire(100_000, 10) == []
    assert len(await sessions.expire(1, 1)) == 1
    assert len(await sessions.expire(1, 10)) == 1
    assert await sessions.expire(1, 10) == []
    left = await sessions.page(user_id=None, words=None, limit=9)
    assert [s.session_id for s in left.rows] == ["used"]
    assert len(await MessageStore(database).unowned("another")) == 1
    while await sessions.delete_piece():
        pass
    assert (await counts(database))["operator_message"] == 4


async def test_the_rows_of_deleted_sessions_go_with_the_way_back(database_url: str) -> None:
    """The version before knows no deletion in pieces, and would show them to whoever has the id."""
    database = await connect(Settings(database_url=database_url))
    await fill(database, "kept", 4, 1000)
    kept = await counts(database)
    await fill(database, "deleted", 30, 2000)
    assert await SessionStore(database).delete("deleted", None) is not None
    assert await counts(database) != kept
    await database.aclose()
    known = migration_ids(database.dialect)
    rollback(database_url, len(known) - known.index("0009.browser_turns") - 1)
    database = await connect(Settings(database_url=database_url))
    assert await counts(database) == kept
    await database.aclose()
