"""The log of events by days on PostgreSQL, and its purge on both engines."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from operator_svc.db import Database, Transaction, connect
from operator_svc.db.queries import load, resource_folder
from operator_svc.services.event_retention import purge_events
from operator_svc.settings import Settings
from operator_svc.stores.events import EventStore
from operator_svc.stores.sessions import SessionStore

ROWS = 20_000
AT = "'2026-01-01T00:00:00.000000Z'"
SESSIONS = (
    "INSERT INTO operator_session (session_id, epoch, user_id, source, last_seq, created_at,"
    " updated_at, active_at) WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE"
    " i < 99) SELECT 's' || i, '00000000-0000-4000-8000-000000000000', 'ana', 'api', 1,"
    f" {AT}, {AT}, {AT} FROM n"
)
DAYS = "SELECT name FROM operator_event_days ORDER BY until"


async def names(tx: Transaction) -> list[str]:
    return [row[0] for row in await tx.fetch(DAYS)]


async def add_past(tx: Transaction, days: int) -> None:
    """Partitions of so many days before today, each with an event of every session."""
    for back in range(days, 0, -1):
        await tx.execute(
            f"CREATE TABLE operator_event_past_{back} PARTITION OF operator_event"
            " (PRIMARY KEY (session_id, seq)) FOR VALUES FROM"
            f" ({await moment(tx, -back)}) TO ({await moment(tx, 1 - back)})"
        )
        await tx.execute(
            "INSERT INTO operator_event (session_id, seq, event, ts)"
            f" SELECT session_id, {days - back + 1}, 'e', {await moment(tx, -back)}"
            " FROM operator_session"
        )


async def fill(database: Database, days: int) -> list[str]:
    """A hundred sessions with an event on each of so many days; the partitions by then."""
    async with database.transaction() as tx:
        await tx.execute(SESSIONS)
        await add_past(tx, days)
        return await names(tx)


async def moment(tx: Transaction, ahead: int) -> str:
    """The midnight so many days from today, by the database's clock."""
    rows = await tx.fetch(
        "SELECT CAST((date_trunc('day', now() AT TIME ZONE 'UTC')"
        f" + interval '{ahead} days') AT TIME ZONE 'UTC' AS text)"
    )
    return f"'{rows[0][0]}'"


async def log(database: Database, session_id: str = "s1") -> list[int]:
    page = await EventStore(database).after(session_id, 0, 1000)
    return [event.seq for event in page.rows]


@asynccontextmanager
async def other(url: str) -> AsyncIterator[Database]:
    database = await connect(Settings(database_url=url))
    yield database
    await database.aclose()


@pytest.mark.parametrize("missing", [3, 1], ids=["the last day", "a day between others"])
async def test_days_that_are_too_old_are_dropped_and_those_to_come_are_made(
    postgresql_database: Database, missing: int
) -> None:
    """Between others a day is missing where the clock was ahead for a while."""
    database = postgresql_database
    async with database.transaction() as tx:
        made = await names(tx)
        assert len(made) == 4, "today and three days ahead"
        await tx.execute(SESSIONS)
        await add_past(tx, 5)
        await tx.execute(f"DROP TABLE {made[missing]}")
    assert await log(database) == [1, 2, 3, 4, 5]
    await purge_events(EventStore(database), 2)
    async with database.transaction() as tx:
        assert await names(tx) == ["operator_event_past_2", "operator_event_past_1", *made]
    assert await log(database) == [4, 5]
    assert await EventStore(database).purge(2, 100) == []


async def test_events_of_a_day_that_was_not_made_in_time_are_kept_shown_and_purged(
    postgresql_database: Database,
) -> None:
    database = postgresql_database
    async with database.transaction() as tx:
        made = await names(tx)
        for day in made:
            await tx.execute(f"DROP TABLE {day}")
        await tx.execute(SESSIONS)
        for seq, ahead in enumerate((-9, 0, 0), 1):
            await tx.execute(
                "INSERT INTO operator_event (session_id, seq, event, ts)"
                f" VALUES ('s1', {seq}, 'e', {await moment(tx, ahead)})"
            )
    assert await log(database) == [1, 2, 3]
    await purge_events(EventStore(database), 2)
    assert await log(database) == [2, 3]
    async with database.transaction() as tx:
        assert await names(tx) == made[1:], "today stays where its events are"
        await tx.execute(
            f"INSERT INTO operator_event (session_id, seq, event, ts) VALUES ('s1', 4, 'e',"
            f" {await moment(tx, 1)})"
        )
        rows = await tx.fetch("SELECT tableoid::regclass::text FROM operator_event WHERE seq = 4")
        assert rows == [(made[1],)]
    assert await log(database) == [2, 3, 4]


async def test_a_day_is_made_while_others_write_sessions_and_events(
    postgresql_url: str, postgresql_database: Database
) -> None:
    async with postgresql_database.transaction() as tx:
        made = await names(tx)
        await tx.execute(SESSIONS)
        await tx.execute(f"DROP TABLE {made[-1]}")
    async with other(postgresql_url) as writer, writer.transaction() as tx:
        await tx.execute("UPDATE operator_session SET last_seq = 2 WHERE session_id = 's1'")
        await tx.execute(
            "INSERT INTO operator_event (session_id, seq, event) VALUES ('s1', 2, 'e')"
        )
        (step,) = await EventStore(postgresql_database).purge(7, 100)
    assert (step.day, step.held_up) == (made[-1], False)
    assert await log(postgresql_database) == [2]


async def test_a_session_takes_its_events_of_all_days_along(postgresql_database: Database) -> None:
    await fill(postgresql_database, 3)
    await SessionStore(postgresql_database).delete("s1", None)
    assert await log(postgresql_database) == []
    assert await log(postgresql_database, "s2") == [1, 2, 3]


@pytest.mark.parametrize("read", ["events_after", "events_after_each"])
async def test_reads_after_a_number_read_few_rows_of_each_day(
    postgresql_database: Database, read: str
) -> None:
    """By the generic plan, whatever a day has."""
    async with postgresql_database.transaction() as tx:
        await tx.execute(SESSIONS)
        await add_past(tx, 7)
        await tx.execute("SET LOCAL session_replication_role = replica")  # without foreign keys
        for back in range(7, 0, -1):
            await tx.execute(
                "INSERT INTO operator_event (session_id, seq, event, ts)"
                f" SELECT 's' || i % 100, {(8 - back) * 1000} + i / 100, 'e',"
                f" {await moment(tx, -back)} FROM generate_series(0, {ROWS // 2}) AS i"
            )
        await tx.execute("ANALYZE")
        sql = load(resource_folder("sql"), "postgresql")[read].statements[0]
        asked = {"session_id": "'s1'", "after": "7090", "bytes": "9999999", "page": "100",
                 "session_ids": "ARRAY['s1', 's2']", "seqs": "ARRAY[7090, 7090]"}  # fmt: skip
        await tx.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await tx.execute(f"PREPARE asked AS {sql.sql}")
        arguments = ", ".join(asked[name] for name in sql.params)
        ((told,),) = await tx.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked({arguments})")
        await tx.execute("DEALLOCATE asked")
    plan = told if isinstance(told, list) else json.loads(told)
    assert _rows(plan[0]["Plan"]) < 100, json.dumps(plan, indent=1)


def _rows(plan: Any) -> int:
    own = plan["Actual Rows"] * plan["Actual Loops"] + plan.get("Rows Removed by Filter", 0)
    return max([int(own), *(_rows(child) for child in plan.get("Plans", ()))])


async def test_a_purge_that_waits_gives_way_to_readers_within_a_second(
    postgresql_url: str, postgresql_database: Database
) -> None:
    """Somebody reads for long: the purge gives up, and those who came after it go on."""
    database = postgresql_database
    await fill(database, 3)
    async with other(postgresql_url) as reader, reader.transaction() as tx:
        await tx.fetch("SELECT count(*) FROM operator_event")
        begun = time.monotonic()
        purge = asyncio.ensure_future(EventStore(database).purge(1, 100))
        await asyncio.sleep(0.05)  # the purge waits for its lock by now
        assert await log(database) == [1, 2, 3]
        assert time.monotonic() - begun < 2.5, "0.25 s, on a machine that is not busy"
        (step,) = await purge
        assert step.held_up
    await purge_events(EventStore(database), 1)
    assert await log(database) == [3]


async def test_many_processes_purge_once_while_others_chat(
    postgresql_url: str, postgresql_database: Database
) -> None:
    database = postgresql_database
    made = await fill(database, 6)

    async def write(session_id: str) -> None:
        for seq in range(100, 140):
            async with database.transaction() as tx:
                await tx.execute(
                    "INSERT INTO operator_event (session_id, seq, event) VALUES (:s, :n, 'e')",
                    s=session_id, n=seq,
                )  # fmt: skip

    async def purge(pod: Database) -> None:
        for _ in range(5):
            await purge_events(EventStore(pod), 1)

    async with other(postgresql_url) as one, other(postgresql_url) as two:
        await asyncio.gather(
            *[write(f"s{n}") for n in range(4)], *[purge(pod) for pod in (database, one, two)]
        )
    await purge_events(EventStore(database), 1)
    for n in range(4):
        assert await log(database, f"s{n}") == [6, *range(100, 140)]
    async with database.transaction() as tx:
        assert await names(tx) == made[5:]


@pytest.fixture
async def steady(database: Database) -> Database:
    """A log from which old events were deleted for long: free room everywhere, and none is old."""
    postgresql = database.dialect == "postgresql"
    young = "now()" if postgresql else "now(-60)"
    series = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {n})"
    async with database.transaction() as tx:
        await tx.execute(SESSIONS)
        for first, ts in ((0, AT), (1000, young)):
            await tx.execute(
                f"INSERT INTO operator_event (session_id, seq, event, ts)"
                f" {series.format(n=ROWS - 1)}"
                f" SELECT 's' || (i % 100), {first} + i / 100 + 1, 'e', {ts} FROM n"
            )
        await tx.execute(f"DELETE FROM operator_event WHERE ts = {AT}")
    return database


async def test_a_purge_that_finds_nothing_reads_little(steady: Database) -> None:
    """Pages on PostgreSQL, most of them of its catalog; the plan on SQLite."""
    statement = load(resource_folder("sql"), steady.dialect)["events_purge"].statements[0]
    if steady.dialect == "sqlite":
        async with steady.transaction() as tx:
            rows = await tx.fetch(f"EXPLAIN QUERY PLAN {statement.sql}", days=7.0, page=5000)
        told = "\n".join(str(row[-1]) for row in rows)
        assert "INDEX operator_event_ts (ts<?)" in told, told
        assert not re.search(r"^SCAN operator_event", told, re.MULTILINE), told
    else:
        async with steady.transaction() as tx:
            await tx.execute("ANALYZE")
            step = "SELECT day FROM operator_event_purge(7, 5000)"
            await tx.fetch(step)  # the first one of a connection also reads what it is made of
            ((told,),) = await tx.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {step}")
        plan = told if isinstance(told, list) else json.loads(told)
        read = plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
        assert read < 400, read
    assert await EventStore(steady).purge(7, 5000) == []
