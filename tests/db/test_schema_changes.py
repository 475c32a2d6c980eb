"""Changes of a filled schema, on PostgreSQL while processes of the version before write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from operator_svc.db import Database, connect
from operator_svc.db.locations import locate
from operator_svc.db.migration_files import migration_ids
from operator_svc.db.migrations import migrate, rollback
from operator_svc.services.search_indexer import SearchIndexer
from operator_svc.services.switch.feedback_counter import FeedbackCounter
from operator_svc.settings import Settings
from operator_svc.stores.feedback_hours import FeedbackHourStore
from operator_svc.stores.message_rows import Key
from operator_svc.stores.search import SearchIndexStore
from operator_svc.stores.sessions import SessionStore
from tests.fakes.eventually import block_until
from tests.stores.conversations import Stores

FIRST = 2
"""Migrations of the version before: its processes write by their tables."""
LOCK_WAIT = "10s"
"""Twenty times as long as a migration waits for its locks, which is how long it holds others up."""

SESSION = (
    "INSERT INTO operator_session (session_id, epoch, user_id, source{times})"
    " VALUES ('{name}', '00000000-0000-4000-8000-000000000000', 'ana', 'api'{now})"
)
MESSAGE = (
    "INSERT INTO operator_message (session_id, role, content, status, owner{times})"
    " VALUES ('{name}', 'user', '{content}', '{status}', {owner}{now}) RETURNING id"
)
TIMES = {
    "postgresql": ("", "", ""),
    "sqlite": (
        ", created_at, updated_at, active_at",
        ", created_at",
        "'2026-01-01T00:00:00.000000Z'",
    ),
}


def back_to_the_version_before(url: str) -> int:
    """Take all newer migrations back; how many there were."""
    newer = len(migration_ids(locate(url).dialect)) - FIRST
    assert len(rollback(url, newer)) == newer
    return newer


class OldPods:
    """Threads that write as processes of the version before do, one transaction after another.

    PostgreSQL refuses one of them that waits longer than LOCK_WAIT for a lock, and that is kept
    in ``errors``.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self.said: dict[str, int] = {}
        self.errors: list[Exception] = []

    def run(self, name: str) -> None:
        """Chat in sessions of this name until the end, and delete every tenth of them."""
        number = 0
        try:
            options = f"-c lock_timeout={LOCK_WAIT}"
            with psycopg.connect(self._url, autocommit=True, options=options) as connection:
                while not self._stop.is_set():
                    number += 1
                    self._chat(connection, f"{name}-{number}", f"word{name}{number}")
                    if number % 10 == 0:
                        connection.execute(
                            "DELETE FROM operator_session WHERE session_id = %s",
                            [f"{name}-{number}"],
                        )
                        del self.said[f"{name}-{number}"]
        except Exception as error:
            self.errors.append(error)

    def _chat(self, connection: psycopg.Connection[Any], session_id: str, word: str) -> None:
        with connection.transaction():
            connection.execute(SESSION.format(name=session_id, times="", now="").encode())
            connection.execute(
                MESSAGE.format(
                    name=session_id, content=f"{word}q", status="complete", owner="NULL",
                    times="", now="",
                ).encode()
            )  # fmt: skip
            row = connection.execute(
                MESSAGE.format(
                    name=session_id, content="", status="streaming", owner="'p'", times="", now=""
                ).encode()
            ).fetchone()
            connection.execute(
                "INSERT INTO operator_event (session_id, seq, event, message_id)"
                " VALUES (%s, 1, 'reply.started', %s)",
                [session_id, row[0] if row else None],
            )
        with connection.transaction():
            connection.execute(
                "UPDATE operator_message SET status = 'complete', owner = NULL, content = %s"
                " WHERE session_id = %s AND status = 'streaming'",
                [f"{word}a", session_id],
            )
            connection.execute(
                "INSERT INTO operator_event (session_id, seq, event) VALUES (%s, 2, 'done')",
                [session_id],
            )
            connection.execute(
                "INSERT INTO operator_switch_feedback (session_id, engine, success, latency_ms,"
                " tokens_used) VALUES (%s, 'e', TRUE, 10, 1)",
                [session_id],
            )
        self.said[session_id] = 2

    def _wait_for(self, sessions: int) -> None:
        block_until(lambda: len(self.said) >= sessions or self.errors)

    @contextmanager
    def writing(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.run, args=(f"t{n}",)) for n in range(3)]
        for thread in threads:
            thread.start()
        try:
            self._wait_for(20)
            yield
            self._wait_for(len(self.said) + 20)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()


async def fill(database: Database, sessions: int) -> None:
    """Sessions ``old-0`` and so on, each with a message."""
    session, message, now = TIMES[database.dialect]
    async with database.transaction() as tx:
        for n in range(sessions):
            times = (f", {now}" * 3) if now else ""
            await tx.execute(SESSION.format(name=f"old-{n}", times=session, now=times))
            await tx.fetch(
                MESSAGE.format(
                    name=f"old-{n}", content=f"Öld words {n}", status="complete", owner="NULL",
                    times=message, now=f", {now}" if now else "",
                )
            )  # fmt: skip


async def found(database: Database, words: str) -> set[str]:
    page = await SessionStore(database).page(user_id=None, words=words, limit=1000)
    return {session.session_id for session in page.rows}


async def opened(url: str) -> Database:
    return await connect(Settings(database_url=url))


@pytest.mark.parametrize("there_and_back", [1, 2])
async def test_search_and_ranking_have_what_was_written_before_during_and_after(
    postgresql_url: str, there_and_back: int
) -> None:
    pods = OldPods(postgresql_url)
    newer = back_to_the_version_before(postgresql_url)
    database = await opened(postgresql_url)
    await fill(database, 300)
    with pods.writing():
        for _ in range(there_and_back - 1):
            await asyncio.to_thread(migrate, postgresql_url)
            await asyncio.to_thread(rollback, postgresql_url, newer)
        await asyncio.to_thread(migrate, postgresql_url)
        indexers = [SearchIndexer(SearchIndexStore(database)) for _ in range(3)]
        await asyncio.gather(*(indexer.run() for indexer in indexers))
        counter = FeedbackCounter(FeedbackHourStore(database))
        await counter.run()
    assert pods.errors == []
    await counter.run()
    (engine,) = await FeedbackHourStore(database).engines(86_400, 10)
    assert (engine.calls, engine.successes, engine.tokens) == (len(pods.said),) * 3
    async with database.transaction() as tx:
        counted = await tx.fetch("SELECT CAST(sum(calls) AS bigint) FROM operator_feedback_hour")
    assert counted == [(len(pods.said),)]
    async with database.transaction() as tx:  # of messages that were being deleted
        await tx.execute("UPDATE operator_search_queue SET claimed_until = NULL")
    await indexers[0].run()
    assert await found(database, "old wor") == {f"old-{n}" for n in range(300)}
    async with database.transaction() as tx:
        rows = await tx.fetch(
            "SELECT m.id FROM operator_message AS m WHERE NOT EXISTS"
            " (SELECT 1 FROM operator_search AS s WHERE s.message_id = m.id)"
        )
        assert rows == []
        assert await tx.fetch("SELECT count(*) FROM operator_search_queue") == [(0,)]
        assert await tx.fetch("SELECT count(*) FROM operator_search_backfill") == [(0,)]
        events = await tx.fetch(
            "SELECT session_id, array_agg(seq ORDER BY seq) FROM operator_event GROUP BY session_id"
        )
        assert {row[0]: row[1] for row in events} == {name: [1, 2] for name in pods.said}
        parts = await tx.fetch(
            "SELECT DISTINCT tableoid::regclass::text FROM operator_event ORDER BY 1"
        )
        assert parts == [("operator_event_before",)], "those that were there did not move"
        (count,) = (await tx.fetch("SELECT count(*) FROM operator_message"))[0]
    assert count == 300 + 2 * len(pods.said)
    one = next(iter(pods.said))
    assert await found(database, f"word{one.replace('-', '')}a") == {one}
    await database.aclose()


OLD_SEARCH = {
    "postgresql": "SELECT session_id FROM operator_message WHERE status <> 'streaming' AND"
    " to_tsvector('simple', left(content, 100000)) @@ plainto_tsquery('simple', 'words 7')",
    "sqlite": "SELECT m.session_id FROM operator_message_search AS f INNER JOIN"
    " operator_message AS m ON f.rowid = m.id WHERE operator_message_search MATCH 'words 7'",
}


async def test_the_version_before_searches_after_the_way_back(database_url: str) -> None:
    newer = back_to_the_version_before(database_url)
    database = await opened(database_url)
    await fill(database, 10)
    await database.aclose()
    migrate(database_url)
    database = await opened(database_url)
    await SearchIndexer(SearchIndexStore(database)).run()
    assert await found(database, "old words 7") == {"old-7"}
    dialect = database.dialect
    if dialect == "postgresql":  # whose processes go on for a while
        async with database.transaction() as tx:
            assert await tx.fetch(OLD_SEARCH[dialect]) == [("old-7",)]
    await database.aclose()
    rollback(database_url, newer)
    database = await opened(database_url)
    async with database.transaction() as tx:
        assert await tx.fetch(OLD_SEARCH[dialect]) == [("old-7",)]
    await database.aclose()


async def _keyed_chats(database: Database, *names: str) -> None:
    for name in names:
        await Stores(database).new(name, key=Key("ana", name, b"hash"))


async def _keys(database: Database) -> set[str]:
    async with database.transaction() as tx:
        return {key for (key,) in await tx.fetch("SELECT key FROM operator_chat_key")}


async def _delete_of_each(database: Database, session: str, message: str, reply: str) -> None:
    """Delete a session, the message of another one, and the reply of a third."""
    row = "DELETE FROM operator_message WHERE session_id = :name AND role = :role"
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM operator_session WHERE session_id = :name", name=session)
        await tx.execute(row, name=message, role="user")
        await tx.execute(row, name=reply, role="assistant")


async def test_keys_go_with_their_replies_before_and_after_the_change(database_url: str) -> None:
    database = await opened(database_url)
    await _keyed_chats(database, *"abcdefg")
    await database.aclose()
    known = migration_ids(locate(database_url).dialect)
    rollback(database_url, len(known) - known.index("0019.repeated_calls") - 1)
    database = await opened(database_url)
    await _delete_of_each(database, "a", "b", "c")
    assert await _keys(database) == set("defg")
    await database.aclose()
    migrate(database_url)
    database = await opened(database_url)
    assert await _keys(database) == set("defg")
    await _delete_of_each(database, "d", "e", "f")
    assert await _keys(database) == {"g"}
    await database.aclose()
