"""The two transactions of a chat, written by hand for the bare drivers.

They write the rows that Operator writes, into the same tables: at the start the session, the
user's message, the reply and their events; at the end the reply's text, its event and the
feedback on its engine. ``insert`` is what a chat that keeps no more than its texts would do.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import queue
import sqlite3
import threading
import uuid
from collections.abc import Callable
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import msgspec

_encode = msgspec.json.Encoder().encode
POOL = 10
"""Connections to PostgreSQL, as many as Operator's default."""


class ChatRows(msgspec.Struct):
    """The ids of a chat that was begun."""

    session_id: str
    message_id: int
    reply_id: int


_BARE_TABLE = "CREATE TABLE IF NOT EXISTS bare (id {}, session_id text, role text, content text)"
_BARE_INSERT = "INSERT INTO bare (session_id, role, content) VALUES ({})"

Work = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]


class SqliteStore:
    """One connection on one thread, which commits all that waits at once."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        threading.Thread(target=self._write, daemon=True).start()

    async def start(self, session_id: str, message: str) -> ChatRows:
        """Store a message and the reply to be written."""
        stored: ChatRows = await self._do(lambda db: _start(db, session_id, message))
        return stored

    async def finish(self, stored: ChatRows, reply: str, provider: str, latency_ms: float) -> None:
        """Store a reply's end."""
        await self._do(lambda db: _finish(db, stored, reply, provider, latency_ms))

    async def insert(self, session_id: str, role: str, content: str) -> None:
        """Store a row of the table without constraints."""
        row = (session_id, role, content)
        await self._do(lambda db: db.execute(_BARE_INSERT.format("?, ?, ?"), row))

    def _do(self, work: Callable[[sqlite3.Connection], Any]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put((work, future))
        return future

    def _write(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None, cached_statements=64)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            db.execute(f"PRAGMA {pragma}")
        db.execute(_BARE_TABLE.format("integer PRIMARY KEY"))
        while True:
            group = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(group) < 256:
                    group.append(self._queue.get_nowait())
            db.execute("BEGIN IMMEDIATE")
            results = [work(db) for work, _ in group]
            db.execute("COMMIT")
            self._loop.call_soon_threadsafe(_deliver, group, results)


def _deliver(group: list[Work], results: list[Any]) -> None:
    for (_, future), result in zip(group, results, strict=True):
        if not future.done():
            future.set_result(result)


def _start(db: sqlite3.Connection, session_id: str, message: str) -> ChatRows:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    changed = db.execute(
        "UPDATE operator_session SET last_seq = last_seq + 2, message_count = message_count + 2,"
        " updated_at = ? WHERE session_id = ? RETURNING last_seq",
        (now, session_id),
    ).fetchone()
    if changed is None:
        db.execute(
            "INSERT INTO operator_session (session_id, epoch, user_id, source, last_seq,"
            " message_count, created_at, updated_at, active_at) VALUES (?, ?, ?, ?, 3, 2, ?, ?, ?)",
            (session_id, str(uuid.uuid4()), "local", "api", now, now, now),
        )
        db.execute(
            "INSERT INTO operator_event (session_id, seq, event, ts, data) VALUES (?, 1, ?, ?, ?)",
            (session_id, "session.created", now, "{}"),
        )
    seq = changed[0] if changed else 3
    message_id = db.execute(
        "INSERT INTO operator_message (session_id, role, content, status, metadata, created_at,"
        " finished_at) VALUES (?, 'user', ?, 'complete', '{}', ?, ?)",
        (session_id, message, now, now),
    ).lastrowid
    reply_id = db.execute(
        "INSERT INTO operator_message (session_id, role, content, status, reply_to, owner,"
        " created_at) VALUES (?, 'assistant', '', 'streaming', ?, 'reference', ?)",
        (session_id, message_id, now),
    ).lastrowid
    db.execute(
        "INSERT INTO operator_event (session_id, seq, event, ts, message_id)"
        " VALUES (?, ?, 'message.created', ?, ?), (?, ?, 'reply.started', ?, ?)",
        (session_id, seq - 1, now, message_id, session_id, seq, now, reply_id),
    )
    assert message_id is not None
    assert reply_id is not None
    return ChatRows(session_id, message_id, reply_id)


def _finish(
    db: sqlite3.Connection, stored: ChatRows, reply: str, provider: str, latency_ms: float
) -> None:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    db.execute(
        "UPDATE operator_message SET status = 'complete', content = ?, metadata = ?, owner = NULL,"
        " finished_at = ? WHERE id = ?",
        (reply, _metadata(provider, latency_ms), now, stored.reply_id),
    )
    (seq,) = db.execute(
        "UPDATE operator_session SET last_seq = last_seq + 1, updated_at = ?"
        " WHERE session_id = ? RETURNING last_seq",
        (now, stored.session_id),
    ).fetchone()
    db.execute(
        "INSERT INTO operator_event (session_id, seq, event, ts, message_id)"
        " VALUES (?, ?, 'reply.completed', ?, ?)",
        (stored.session_id, seq, now, stored.reply_id),
    )
    db.execute(
        "INSERT INTO operator_switch_feedback (session_id, message_id, engine, success,"
        " latency_ms, tokens_used, posted, not_before, created_at)"
        " VALUES (?, ?, ?, 1, ?, 0, 0, ?, ?)",
        (stored.session_id, stored.reply_id, provider, round(latency_ms), now, now),
    )


def _metadata(provider: str, latency_ms: float) -> str:
    return _encode({"status": "ok", "provider": provider, "latency_ms": latency_ms}).decode()


_START = """
WITH session AS (
    INSERT INTO operator_session (session_id, epoch, user_id, source, last_seq, message_count)
    VALUES ($1, gen_random_uuid(), 'local', 'api', 3, 2)
    ON CONFLICT (session_id) DO UPDATE SET
        last_seq = operator_session.last_seq + 2,
        message_count = operator_session.message_count + 2,
        updated_at = now()
    RETURNING session_id, last_seq
), ids AS MATERIALIZED (
    SELECT
        session_id, last_seq,
        nextval('operator_message_id_seq') AS message_id,
        nextval('operator_message_id_seq') AS reply_id
    FROM session
), messages AS (
    INSERT INTO operator_message (
        id, session_id, role, content, status, reply_to, owner, metadata, finished_at
    )
    SELECT message_id, session_id, 'user', $2, 'complete', NULL, NULL, '{}'::jsonb, now() FROM ids
    UNION ALL
    SELECT reply_id, session_id, 'assistant', '', 'streaming', message_id, 'reference', NULL, NULL
    FROM ids
), events AS (
    INSERT INTO operator_event (session_id, seq, event, message_id)
    SELECT session_id, last_seq - 1, 'message.created', message_id FROM ids
    UNION ALL SELECT session_id, last_seq, 'reply.started', reply_id FROM ids
    UNION ALL SELECT session_id, 1, 'session.created', NULL FROM ids WHERE last_seq = 3
)
SELECT message_id, reply_id FROM ids
"""
_FINISH = """
WITH numbered AS (
    UPDATE operator_session SET last_seq = last_seq + 1, updated_at = now()
    WHERE session_id = $1
    RETURNING session_id, last_seq
), ended AS (
    UPDATE operator_message
    SET status = 'complete', content = $3, metadata = $4, owner = NULL, finished_at = now()
    WHERE id = $2
), events AS (
    INSERT INTO operator_event (session_id, seq, event, message_id)
    SELECT session_id, last_seq, 'reply.completed', $2 FROM numbered
)
INSERT INTO operator_switch_feedback (
    session_id, message_id, engine, success, latency_ms, tokens_used, posted
)
VALUES ($1, $2, $5, true, $6, 0, false)
"""


class PostgresqlStore:
    """asyncpg's pool, one statement a transaction, and no reset between its uses."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, dsn: str) -> PostgresqlStore:
        """Open the pool."""
        pool = await asyncpg.create_pool(dsn, min_size=POOL, max_size=POOL, reset=_no_reset)
        await pool.execute(_BARE_TABLE.format("bigserial PRIMARY KEY"))
        return cls(pool)

    async def start(self, session_id: str, message: str) -> ChatRows:
        """Store a message and the reply to be written."""
        row = await self._pool.fetchrow(_START, session_id, message)
        return ChatRows(session_id, row[0], row[1])

    async def finish(self, stored: ChatRows, reply: str, provider: str, latency_ms: float) -> None:
        """Store a reply's end."""
        await self._pool.execute(
            _FINISH,
            stored.session_id,
            stored.reply_id,
            reply,
            _metadata(provider, latency_ms),
            provider,
            round(latency_ms),
        )

    async def insert(self, session_id: str, role: str, content: str) -> None:
        """Store a row of the table without constraints."""
        await self._pool.execute(_BARE_INSERT.format("$1, $2, $3"), session_id, role, content)


async def _no_reset(_: Any) -> None:
    """Nothing was set on the connection."""
