"""The adoption of a legacy database beside servers that go on, and sessions that are deleted."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

import msgspec
import psycopg
import pytest

from operator_svc.adopt.importer import adopt
from operator_svc.adopt.legacy_file import TABLES
from operator_svc.errors import ConfigurationError
from operator_svc.models import Message, Session
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.sessions import SessionStore
from tests.adopt.conftest import LegacyFile, Target
from tests.fakes.pgbouncer import PgBouncer
from tests.fakes.postgres import PostgresServer


async def test_rows_written_during_adoption_get_higher_ids(
    legacy: LegacyFile, postgresql_url: str
) -> None:
    legacy.session("abc")
    legacy.messages("abc", *(f"old {number}" for number in range(20)))
    target = Target(postgresql_url)
    written: list[int] = []

    def write_meanwhile(table: str, done: int, total: int) -> None:
        if table != "operator_message":
            return
        # Before any message is brought in, and after all of them are, neither of them committed.
        with psycopg.connect(postgresql_url, autocommit=True) as beside:
            beside.execute("SET statement_timeout = 5000")
            beside.execute(
                "INSERT INTO operator_session (session_id, epoch, user_id, source)"
                " VALUES ('live', gen_random_uuid(), 'local', 'api') ON CONFLICT DO NOTHING"
            )
            row = beside.execute(
                "INSERT INTO operator_message (session_id, role, content, status)"
                " VALUES ('live', 'user', 'new', 'complete') RETURNING id"
            ).fetchone()
            assert row is not None
            written.append(row[0])

    await adopt(target.settings, legacy.path, dry_run=False, progress=write_meanwhile)
    assert len(written) == 2
    assert min(written) > 20
    messages = await target.rows(Message)
    assert [m.id for m in messages if m.session_id == "abc"] == list(range(1, 21))
    assert [m.id for m in messages if m.session_id == "live"] == written


async def delete_session(target: Target, session_id: str, rows: int) -> None:
    """A session of ``local`` that was deleted, as a process leaves it that then stops."""
    async with target.open() as database:
        messages = MessageStore(database)
        started = await messages.start_new(
            session_id=session_id, epoch=str(uuid.uuid4()), user_id="local", source="api",
            content="deleted", metadata={}, pod_id="pod", key=None,
        )  # fmt: skip
        assert started is not None
        for _ in range(rows):
            await messages.regenerate(
                session_id=session_id, viewer=None, message_id=started.message_id, pod_id="pod",
                key=None,
            )  # fmt: skip
        assert await SessionStore(database).delete(session_id, None) is not None


async def test_the_id_of_a_session_that_is_being_deleted_is_freed_first(
    legacy: LegacyFile, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_svc.stores.sessions.SMALL", 0)
    monkeypatch.setattr("operator_svc.stores.sessions.PIECE", 5)
    legacy.session("abc")
    legacy.messages("abc", "one", "two")
    await delete_session(target, "abc", 20)
    report = await target.adopt(legacy)
    assert report.tables["operator_message"].written == 2
    (session,) = await target.rows(Session)
    assert (session.session_id, session.message_count) == ("abc", 2)
    assert [m.content for m in await target.rows(Message)] == ["one", "two"]
    async with target.open() as database:
        assert not await SessionStore(database).delete_piece()
        found = await SessionStore(database).page(user_id=None, words=None, limit=9)
    assert [session.session_id for session in found.rows] == ["abc"]


@pytest.mark.parametrize("known", [False, True], ids=["new", "adopted before"])
async def test_what_comes_into_a_session_that_is_deleted_meanwhile_is_not_lost_with_it(
    legacy: LegacyFile, postgresql_url: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets a session of its own; what was adopted into the deleted one before stays gone."""
    monkeypatch.setattr("operator_svc.stores.sessions.SMALL", 0)
    target = Target(postgresql_url)
    legacy.session("abc")
    legacy.messages("abc", "one")
    if known:
        await target.adopt(legacy)
        legacy.messages("abc", "two")
    else:
        with psycopg.connect(postgresql_url, autocommit=True) as beside:
            beside.execute(
                "INSERT INTO operator_session (session_id, epoch, user_id, source)"
                " VALUES ('abc', gen_random_uuid(), 'local', 'api')"
            )

    def delete_meanwhile(table: str, done: int, total: int) -> None:
        if (table, done) == ("operator_session", 0):
            with psycopg.connect(postgresql_url, autocommit=True) as beside:
                beside.execute("UPDATE operator_session SET deleted_at = now()")

    await adopt(target.settings, legacy.path, dry_run=False, progress=delete_meanwhile)
    async with target.open() as database:
        while await SessionStore(database).delete_piece():
            pass
    sessions, messages = await target.rows(Session), await target.rows(Message)
    if known:
        assert (sessions, messages) == ([], [])
    else:
        assert [m.content for m in messages] == ["one"]
        assert [s.metadata["adopted_session_id"] for s in sessions] == ["abc"]
        assert sessions[0].session_id == messages[0].session_id != "abc"


async def test_others_write_to_sessions_that_are_joined_or_known_and_delete_none(
    legacy: LegacyFile, postgresql_url: str
) -> None:
    target = Target(postgresql_url)
    legacy.session("known")
    await target.adopt(legacy)
    await target.run(
        "INSERT INTO operator_session (session_id, epoch, user_id, source)"
        " VALUES ('joined', gen_random_uuid(), 'local', 'api')"
    )
    legacy.session("joined")
    legacy.messages("known", "one")
    legacy.messages("joined", "two")
    row = "SELECT session_id FROM operator_session ORDER BY session_id"
    tables = []

    def look(table: str, done: int, total: int) -> None:
        if table != "operator_session":
            with psycopg.connect(postgresql_url, autocommit=True) as beside:
                written = beside.execute(f"{row} FOR NO KEY UPDATE NOWAIT").fetchall()
                assert written == [("joined",), ("known",)]
                assert beside.execute(f"{row} FOR UPDATE SKIP LOCKED").fetchall() == []
            tables.append(table)

    await adopt(target.settings, legacy.path, dry_run=False, progress=look)
    assert set(tables) == {name for name in TABLES if name != "operator_session"}
    assert [s.message_count for s in await target.rows(Session)] == [1, 1]


async def test_a_second_adoption_at_once_is_refused(
    legacy: LegacyFile, postgresql_url: str
) -> None:
    """It would wait for the first one with a lock for which all others wait."""
    target = Target(postgresql_url)
    legacy.session("abc")
    refused = []

    def adopt_again(table: str, done: int, total: int) -> None:
        with ThreadPoolExecutor(1) as beside:
            again = beside.submit(asyncio.run, target.adopt(legacy))
            with pytest.raises(ConfigurationError, match="somebody else is adopting"):
                again.result()
        refused.append(table)

    await adopt(target.settings, legacy.path, dry_run=False, progress=adopt_again)
    assert refused
    assert await target.count("operator_session") == 1


async def test_adoption_goes_past_the_pooler(
    legacy: LegacyFile, postgres_server: PostgresServer, postgresql_url: str
) -> None:
    legacy.session("abc")
    target = Target(postgresql_url)
    pooler = PgBouncer(postgres_server.folder, "statement")  # it allows no transactions
    try:
        settings = msgspec.structs.replace(
            target.settings,
            database_url=pooler.url(postgresql_url.partition("@/")[2].partition("?")[0]),
            database_direct_url=postgresql_url,
            db_pool_size=1,
        )
        for dry_run in (True, False):
            await adopt(settings, legacy.path, dry_run=dry_run, progress=lambda *_: None)
    finally:
        pooler.stop()
    assert await target.count("operator_session") == 1
