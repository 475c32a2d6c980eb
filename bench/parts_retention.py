"""Retention at a million rows of each kind: a look that finds nothing, and a write that deletes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from bench import seed
from bench.context import Bench, Engine, path_of
from bench.results import Figure, median_figure
from operator_svc.db import Database, connect
from operator_svc.db.queries import load, resource_folder
from operator_svc.services.event_retention import PURGE_PAGE
from operator_svc.settings import Settings
from operator_svc.stores.events import EventStore
from operator_svc.stores.retention import PURGES, Kind, RetentionStore
from operator_svc.stores.sessions import SessionStore

DAYS = 30.0
OLD, YOUNG = "2020-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"
LOOKS = 15
"""Times that a look which finds nothing is measured."""
EXPIRED = 5_000
"""Old sessions that are deleted, of twenty messages each."""

_SESSIONS = """
INSERT INTO operator_session (session_id, epoch, user_id, source, created_at, updated_at, active_at)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
SELECT 's' || i, '00000000-0000-4000-8000-000000000000', 'u', 'api', '{at}', '{at}', '{at}' FROM n;
INSERT INTO operator_message (id, session_id, role, content, status, created_at)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
SELECT i, 's' || i % 1000, 'assistant', '', 'complete', '{at}' FROM n
"""
_FILL: dict[str, tuple[str, str]] = {
    "idempotency keys": (
        "operator_chat_key (scope, key, body_hash, session_id, message_id, reply_id, created_at)",
        "'u', CAST(i AS text), CAST('h' AS {blob}), 's' || i % 1000, i, i, '{at}'",
    ),
    "feedback": (
        "operator_switch_feedback (engine, success, latency_ms, tokens_used, not_before,"
        " created_at, forwarded_at)",
        "'engine-' || i % 12, true, i % 3000, 1, '{at}', '{at}', '{at}'",
    ),
    "tool calls": (
        "operator_tool_call (message_id, tool_name, status, result, created_at)",
        "i, 't', 'ok', '{{\"found\": 3}}', '{at}'",
    ),
    "browser tasks": (
        "operator_browser_task (task_id, user_id, session_id, url, status, options, not_before,"
        " created_at, completed_at)",
        "i, 'u' || i % 100, 's' || i % 1000, 'https://a.example', 'completed', '{{}}', '{at}',"
        " '{at}', '{at}'",
    ),
    "events": (
        "operator_event (session_id, seq, event, ts, message_id)",
        "'s' || i % 1000, i, 'reply.started', '{at}', i",
    ),
}
_DAY = """
CREATE TABLE operator_event_old PARTITION OF operator_event (PRIMARY KEY (session_id, seq))
FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')
"""
_INSERT = """
INSERT INTO {table}
WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
SELECT {values} FROM n
"""
_USED = """
UPDATE operator_session SET active_at = '{at}', updated_at = '{at}'
WHERE session_id LIKE '{sessions}'
"""
_KINDS: dict[str, Kind] = {
    "idempotency keys": "chat_keys",
    "feedback": "feedback",
    "tool calls": "tool_calls",
    "browser tasks": "browser_tasks",
}


async def retention(bench: Bench) -> None:
    """Each kind on each engine: half of the rows are too old."""
    engines: tuple[Engine, ...] = ("postgresql", "sqlite")
    rows = 50_000 if bench.quick else 1_000_000
    for engine in engines:
        for kind in _FILL:
            url = bench.database(engine)
            await asyncio.to_thread(_fill, engine, url, kind, rows)
            async with _connected(url) as database:
                await _purge(bench, database, url, kind, rows)
        await _expire(bench, engine, rows)


async def _purge(bench: Bench, database: Database, url: str, kind: str, rows: int) -> None:
    part = f"retention-{database.dialect}"
    purge = _purge_of(database, kind)
    looks = []
    for _ in range(LOOKS):  # older than all: by the same way, and nothing is found
        begun = time.perf_counter()
        assert await purge(days=10_000.0) == 0
        looks.append((time.perf_counter() - begun) * 1000)
    pages, deleted = [], 0
    while True:
        begun = time.perf_counter()
        gone = await purge(days=DAYS)
        pages.append((time.perf_counter() - begun) * 1000)
        deleted += gone
        if gone < PURGE_PAGE:
            break
    assert deleted >= rows // 2, f"{deleted} {kind} were deleted"
    bench.add(
        median_figure(part, f"a look that finds nothing, {rows:,} {kind}", looks[2:], "ms"),
        median_figure(part, f"a write that deletes {PURGE_PAGE:,} {kind}", pages[:-1], "ms"),
        Figure(part=part, name=f"{kind} deleted a second", value=deleted / sum(pages) * 1000,
               unit="/s", best="high"),
    )  # fmt: skip
    if database.dialect == "postgresql":
        read = await asyncio.to_thread(_pages_read, url, kind)
        bench.add(Figure(part=part, name=f"pages of 8 KiB that this look reads, {kind}",
                         value=read, unit=""))  # fmt: skip


async def event_days(bench: Bench) -> None:
    """A day of a million events, which PostgreSQL drops as a whole."""
    rows = 50_000 if bench.quick else 1_000_000
    url = bench.database("postgresql")
    _execute("postgresql", url, _DAY)
    await asyncio.to_thread(_fill, "postgresql", url, "events", 2 * rows)
    async with _connected(url) as database:
        begun = time.perf_counter()
        (step,) = await EventStore(database).purge(DAYS, PURGE_PAGE)
        took = (time.perf_counter() - begun) * 1000
    assert step.day == "operator_event_old"
    bench.add(Figure(part="event-days", name=f"a day of {rows:,} events dropped", value=took,
                     unit="ms"))  # fmt: skip


def _purge_of(database: Database, kind: str) -> Callable[..., Awaitable[int]]:
    if kind != "events":
        return partial(RetentionStore(database).purge, _KINDS[kind], limit=PURGE_PAGE)

    async def purge(days: float) -> int:
        return len(await EventStore(database).purge(days, PURGE_PAGE))

    return purge


async def _expire(bench: Bench, engine: Engine, rows: int) -> None:
    """Sessions that nobody used for long, with their messages, events none."""
    part = f"retention-{engine}"
    url = bench.database(engine)
    await asyncio.to_thread(seed.fill, bench, engine, url, rows)
    for half, at in (("a", OLD), ("b", YOUNG)):
        statement = _USED.format(at=at, sessions=f"{seed.OTHERS}-{half}-%")
        await asyncio.to_thread(_execute, engine, url, statement)
    async with _connected(url) as database:
        store, looks, writes, deleted = SessionStore(database), [], [], 0
        for _ in range(LOOKS):
            begun = time.perf_counter()
            assert await store.expire(10_000.0, 100) == []
            looks.append((time.perf_counter() - begun) * 1000)
        while deleted < min(EXPIRED, rows // 2 // seed.MESSAGES_A_SESSION):
            deleted += len(await store.expire(DAYS, 100))
            more = True
            while more:
                begun = time.perf_counter()
                more = await store.delete_piece()
                writes.append((time.perf_counter() - begun) * 1000)
    messages = deleted * seed.MESSAGES_A_SESSION
    bench.add(
        median_figure(part, f"a look for unused sessions, of {rows:,} messages", looks[2:], "ms"),
        median_figure(part, "a write that deletes one of 20 messages", writes, "ms"),
        Figure(part=part, name="messages deleted a second with their sessions",
               value=messages / sum(writes) * 1000, unit="/s", best="high"),
    )  # fmt: skip


def _fill(engine: Engine, url: str, kind: str, rows: int) -> None:
    table, values = _FILL[kind]
    blob = "bytea" if engine == "postgresql" else "blob"
    _execute(engine, url, *_SESSIONS.format(at=OLD, rows=rows).split(";"))
    for first, last, at in ((1, rows // 2, OLD), (rows // 2 + 1, rows, YOUNG)):
        row = values.format(at=at, blob=blob)
        _execute(engine, url, _INSERT.format(table=table, first=first, last=last, values=row))
    _execute(engine, url, "VACUUM ANALYZE" if engine == "postgresql" else "ANALYZE")


def _execute(engine: Engine, url: str, *statements: str) -> None:
    if engine == "sqlite":
        with contextlib.closing(sqlite3.connect(path_of(url))) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        return
    import psycopg

    with psycopg.connect(url, autocommit=True) as server:
        for statement in statements:
            server.execute(statement.encode())


def _pages_read(url: str, kind: str) -> float:
    """Pages of tables and indexes that a purge of PostgreSQL reads which finds nothing."""
    import psycopg

    name = PURGES[_KINDS[kind]] if kind in _KINDS else "events_purge"
    (statement,) = load(resource_folder("sql"), "postgresql")[name].statements
    values = {"days": 10_000.0, "page": PURGE_PAGE}
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("VACUUM ANALYZE")
        server.execute(f"PREPARE purge AS {statement.sql}".encode())
        arguments = ", ".join(str(values[param]) for param in statement.params)
        call = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE purge({arguments})"
        row = server.execute(call.encode()).fetchone()
        assert row is not None
        plan: dict[str, Any] = row[0][0]["Plan"]
    return float(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Database]:
    database = await connect(Settings(database_url=url, db_timeout=120.0))
    try:
        yield database
    finally:
        await database.aclose()
