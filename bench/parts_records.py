"""A million rows: adopting a legacy database, and ranking engines; and overviews from the cache."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import processes
from bench.context import Bench, Engine
from bench.http import Load, call, request
from bench.processes import ROOT, TOKEN, running
from bench.results import Figure, median_figure

OLD = """
CREATE TABLE operator_session (
    id INTEGER NOT NULL PRIMARY KEY, session_id VARCHAR(64) NOT NULL, user_id VARCHAR(64) NOT NULL,
    source VARCHAR(50) NOT NULL, created_at DATETIME, updated_at DATETIME);
CREATE TABLE operator_message (
    id INTEGER NOT NULL PRIMARY KEY, session_id VARCHAR(64) NOT NULL, role VARCHAR(50) NOT NULL,
    content TEXT NOT NULL, message_metadata TEXT, created_at DATETIME);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} / 20)
INSERT INTO operator_session
SELECT i, 's' || i, 'u' || (i % 100), 'api', '2025-12-14 10:00:00', '2025-12-14 10:00:00' FROM n;
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows})
INSERT INTO operator_message
SELECT i + 1, 's' || (1 + i % ({rows} / 20)), CASE i % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
    'the quick brown fox jumps over the lazy dog and sleeps ' || i,
    '{{"provider": "p", "latency_ms": 12}}', '2025-12-14 10:00:00.123456'
FROM n;
"""
"""The two tables that grow, as the legacy backend's models made them."""
FEEDBACK: dict[Engine, str] = {
    "postgresql": """
        INSERT INTO operator_switch_feedback
            (engine, success, latency_ms, tokens_used, posted, created_at, forwarded_at)
        SELECT
            'engine-' || (i % 12), i % 20 <> 0, (i::bigint * 7919) % 30011, i % 1000, FALSE,
            now() - (i % 86000) * interval '1 second', now()
        FROM generate_series(1, {rows}) AS i
    """,
    "sqlite": """
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO operator_switch_feedback (engine, success, latency_ms, tokens_used, posted,
            not_before, created_at, forwarded_at)
        SELECT
            'engine-' || (i % 12), i % 20 <> 0, (i * 7919) % 30011, i % 1000, 0, 'x',
            strftime('%Y-%m-%dT%H:%M:%S.000000Z', 'now', -(i % 86000) || ' seconds'), 'x'
        FROM n
    """,
}
"""Feedback of a day on twelve engines, with latencies up to half a minute."""
OUTBOX = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows})
INSERT INTO operator_switch_feedback
    (engine, success, latency_ms, tokens_used, posted, not_before, created_at)
SELECT 'engine-' || (i % {engines}), 1, 5, 5, 1, '2026-01-01T00:00:00.000000Z',
    '2026-01-01T00:00:00.000000Z'
FROM n
"""


async def adopt(bench: Bench, engine: Engine) -> None:
    """A legacy database of a million messages, and the memory that its adopting takes."""
    part = f"adopt-{engine}"
    rows = 100_000 if bench.quick else 1_000_000
    legacy = bench.folder / f"legacy-{engine}.db"
    with sqlite3.connect(legacy) as connection:
        connection.executescript(OLD.format(rows=rows))
    connection.close()
    url = bench.database(engine)
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "operator_svc", "adopt", "--from", str(legacy)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OPERATOR_TOKEN": TOKEN,
             "OPERATOR_DATABASE_URL": url},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    took = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"adopting ended with {process.returncode}")
    read = rows + rows // 20
    bench.add(
        Figure(part=part, name=f"rows a second, of {read:,}", value=read / took, unit="/s",
               target=20_000 if engine == "sqlite" else None, best="high"),
        Figure(part=part, name="rows for a second of CPU",
               value=read / (used.ru_utime + used.ru_stime), unit="", best="high"),
        Figure(part=part, name="most memory", value=used.ru_maxrss / 1024, unit="MiB"),
    )  # fmt: skip
    Path(legacy).unlink()


async def ranking(bench: Bench) -> None:
    """Engines ranked by a million rows of feedback, over HTTP, once they are counted by hour."""
    for engine in ("postgresql", "sqlite"):
        await _ranking(bench, engine)


async def _ranking(bench: Bench, engine: Engine) -> None:
    rows = 100_000 if bench.quick else 1_000_000
    url = bench.database(engine)
    _run(engine, url, FEEDBACK[engine].format(rows=rows))
    operator = processes.operator(bench.switch, url)
    took = []
    with running(operator):
        begun = time.monotonic()
        await _until_none(engine, url, "SELECT count(*) FROM operator_feedback_change")
        counted = rows / (time.monotonic() - begun)
        for number in range(12):
            begun = time.perf_counter()
            await call(operator, "GET", f"/operator/switch/engines?window={86_400 - number}")
            took.append((time.perf_counter() - begun) * 1000)
    part = f"ranking-{engine}"
    bench.add(
        median_figure(part, f"engines ranked by {rows:,} rows", took[2:], "ms", 150),
        Figure(part=part, name="rows counted by hour a second", value=counted, unit="/s",
               best="high"),
    )  # fmt: skip


async def forwarding(bench: Bench) -> None:
    """Feedback forwarded to the stand-in for Switch, of one engine and of eight, on SQLite."""
    rows = 1_000 if bench.quick else 5_000
    for engines in (1, 8):
        url = bench.database("sqlite")
        _run("sqlite", url, OUTBOX.format(rows=rows, engines=engines))
        operator = processes.operator(bench.switch, url)
        with running(operator):
            begun = time.monotonic()
            waiting = "SELECT count(*) FROM operator_switch_feedback WHERE forwarded_at IS NULL"
            await _until_none("sqlite", url, waiting)
            took = time.monotonic() - begun
        bench.add(
            Figure(part="forwarding", name=f"rows a second of {engines} engines",
                   value=rows / took, unit="/s", best="high"),
        )  # fmt: skip


def _run(engine: Engine, url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run one statement, with a planner that knows the tables on PostgreSQL; its rows."""
    if engine == "sqlite":
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            rows = connection.execute(sql).fetchall()
            connection.commit()
            return rows
    import psycopg

    with psycopg.connect(url, autocommit=True) as server:
        cursor = server.execute(sql.encode())
        rows = cursor.fetchall() if cursor.description else []
        if not rows:
            server.execute("VACUUM ANALYZE operator_switch_feedback")
        return rows


async def _until_none(engine: Engine, url: str, count: str) -> None:
    while _run(engine, url, count) != [(0,)]:
        await asyncio.sleep(0.1)


async def overviews(bench: Bench) -> None:
    """Overviews from the cache, with one core for the server."""
    operator = processes.operator(
        bench.switch, bench.database("sqlite"), TENTACULO_LINK_URL=bench.switch.url
    )
    with running(operator):
        ask = request(operator, "GET", "/operator/vx11/overview")
        load = Load(operator, 32, lambda _: ask)
        await load.connect()
        rates = []
        for _ in bench.rounds(5):
            took = await load.run(1.5)
            rates.append(len(load.seconds) / took)
        load.close()
    bench.add(
        Figure(part="overviews", name="overviews a second, 32 clients",
               value=statistics.median(rates), unit="/s", target=1_000, best="high"),
    )  # fmt: skip
