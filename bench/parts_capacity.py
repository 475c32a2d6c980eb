"""Load that one PostgreSQL bears: notifications to listeners, commits, and log."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

import psycopg

from bench.context import Bench
from bench.processes import cpu_seconds
from bench.results import Figure, median_figure

LISTENERS = 100
SESSIONS = 10
"""Sessions that a notification names, of 32 characters each."""
AT_ONCE = 50
"""Notifications that wait for their listeners: what a socket keeps without a reader."""
WRITERS = 16
"""Connections that commit at the same time."""
MESSAGE = 64 * 1024
"""Bytes of a record, where the log is to be filled."""
TABLE = """
CREATE TABLE counter (id int PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO counter SELECT i, 0 FROM generate_series(0, {} - 1) AS i;
"""
COMMITS = """
DO $$ BEGIN FOR i IN 1..{} LOOP
UPDATE counter SET n = n + 1 WHERE id = {}; COMMIT;
END LOOP; END $$
"""
RECORDS = """
DO $$ BEGIN FOR i IN 1..{} LOOP
PERFORM pg_logical_emit_message(true, 'bench', repeat('x', {})); COMMIT;
END LOOP; END $$
"""


async def capacity(bench: Bench) -> None:
    """Notify listeners that read nothing else, and commit little and much from many connections."""
    await asyncio.to_thread(_notify, bench)
    url = bench.database("postgresql")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE.format(WRITERS))
    commits, megabytes = [], []
    for _ in bench.rounds(3):
        count = 200 if bench.quick else 1000
        took = await _all(url, [COMMITS.format(count, n) for n in range(WRITERS)])
        commits.append(WRITERS * count / took)
        count = 20 if bench.quick else 100
        took = await _all(url, [RECORDS.format(count, MESSAGE)] * WRITERS)
        megabytes.append(WRITERS * count * MESSAGE / 2**20 / took)
    bench.add(
        median_figure("capacity", "commits that PostgreSQL bears", commits, "/s", best="high"),
        median_figure("capacity", "log that PostgreSQL bears", megabytes, "MiB/s", best="high"),
    )


def _notify(bench: Bench) -> None:
    """Send notifications one after another, each of which every listener gets."""
    rounds = 4 if bench.quick else 40
    url = bench.database("postgresql")
    payload = " ".join(f"{n:032d}" for n in range(SESSIONS))
    with ExitStack() as stack:
        sender, *heard = all_of_them = [
            stack.enter_context(psycopg.connect(url, autocommit=True)) for _ in range(1 + LISTENERS)
        ]
        for one in heard:
            one.execute("LISTEN operator_news")

        def used() -> float:
            return sum(cpu_seconds(one.info.backend_pid) for one in all_of_them)

        before = used()
        for _ in range(rounds):
            for n in range(AT_ONCE):
                sender.execute("SELECT pg_notify('operator_news', %s)", (f"{n} {payload}",))
            for one in heard:
                assert len(list(one.notifies(stop_after=AT_ONCE))) == AT_ONCE
        cost = (used() - before) / (rounds * AT_ONCE * LISTENERS)
    bench.add(Figure(part="capacity", unit="µs", value=cost * 1e6,
                     name=f"CPU time of PostgreSQL for each of {LISTENERS} listeners"
                          " of a notification"))  # fmt: skip


async def _all(url: str, statements: list[str]) -> float:
    """Run each on a connection of its own, at the same time; the seconds that it took."""

    def run(statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())

    begun = time.monotonic()
    await asyncio.gather(*(asyncio.to_thread(run, statement) for statement in statements))
    return time.monotonic() - begun
