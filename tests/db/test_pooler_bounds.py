"""Bounds for a process that stands still or hears nothing, of what it keeps from others."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from operator_svc.db import Database, Nothing, connect, postgresql_limits
from operator_svc.settings import Settings
from tests.db.things import Name, unavailable, warm
from tests.fakes.eventually import WITHIN, eventually
from tests.fakes.pgbouncer import PgBouncer, through
from tests.fakes.postgres import PostgresServer
from tests.fakes.relay import Relay


async def test_a_process_that_stands_still_in_a_transaction_keeps_nobody_waiting(
    open_things: Any,
    postgres_server: PostgresServer,
    empty_postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgresql_limits, "IDLE_SECONDS", 1.5)
    pooler = PgBouncer(postgres_server.folder, "transaction")
    try:
        url = through(pooler, empty_postgresql_url)
        direct = {"database_direct_url": empty_postgresql_url}
        other: Database = await open_things(url, **direct, db_timeout=20.0)
        async with Relay(pooler.folder) as relay:
            still: Database = await open_things(
                f"{url.partition('?')[0]}?host={relay.folder}",
                create=False, **direct, db_timeout=30.0,
            )  # fmt: skip
            relay.lose_answers(lambda data: b"INSERT" in data, cut=False)
            write = asyncio.create_task(still.write("thing_name", Nothing, name="a"))
            await eventually(lambda: relay.lost == 1)
            await other.write("thing_name", Nothing, name="a")
            write.cancel()
        assert await other.fetch("thing_names", Name) == [Name("a")]
    finally:
        pooler.stop()


async def test_lost_answers_to_commits_hold_no_sessions_of_the_pooler(
    open_things: Any,
    postgres_server: PostgresServer,
    empty_postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Callers hear of a write that it may be stored; a read is tried again."""
    monkeypatch.setattr(postgresql_limits, "END_SECONDS", 0.5)
    async with Relay(postgres_server.folder) as relay:
        pooler = PgBouncer(relay.folder, "transaction", size=2)
        try:
            database: Database = await open_things(
                through(pooler, empty_postgresql_url),
                database_direct_url=empty_postgresql_url,
                db_pool_size=2,
                db_timeout=30.0,
            )
            await warm(database, 2)
            relay.lose_answers(lambda data: b"COMMIT" in data and relay.lost < 2, cut=False)
            await asyncio.gather(
                *[unavailable(database.write("thing_name", Nothing, name=name)) for name in "ab"]
            )
            found = await database.fetch("thing_names", Name)
            assert {row.name for row in found} == {"a", "b"}
            relay.lose_answers(lambda data: b"COMMIT" in data and relay.lost < 3, cut=False)
            assert len(await database.fetch("thing_names", Name)) == 2
            assert relay.lost == 3
        finally:
            pooler.stop()


PREPARED = b"1\x00\x00\x00\x04"
"""The begin of an answer to a statement that is to be prepared (ParseComplete)."""


async def test_a_process_that_stands_still_while_it_prepares_keeps_nobody_waiting(
    open_things: Any,
    things_sql: Path,
    postgres_server: PostgresServer,
    empty_postgresql_url: str,
) -> None:
    pooler = PgBouncer(postgres_server.folder, "transaction", size=2)
    go_on = threading.Event()
    try:
        url = through(pooler, empty_postgresql_url)
        direct = empty_postgresql_url
        other: Database = await open_things(url, database_direct_url=direct, db_timeout=30.0)
        async with Relay(pooler.folder) as relay:
            settings = Settings(
                database_url=f"{url.partition('?')[0]}?host={relay.folder}",
                database_direct_url=direct,
                db_pool_size=2, db_timeout=3.0,
            )  # fmt: skip
            still = asyncio.create_task(
                asyncio.to_thread(asyncio.run, stand_still(settings, things_sql, relay, go_on))
            )
            await eventually(lambda: relay.lost == 2 or still.done())
            await other.write("thing_name", Nothing, name="a")
            assert not still.done()
            go_on.set()
            await still
    finally:
        go_on.set()
        pooler.stop()


async def stand_still(
    settings: Settings, queries: Path, relay: Relay, go_on: threading.Event
) -> None:
    """Stop this thread's loop when two connections have sent a statement to be prepared."""
    loop = asyncio.get_running_loop()
    database = await connect(settings, queries=queries)
    await warm(database, 2)

    def is_prepared(data: bytes) -> bool:
        if relay.lost == 1 and data.startswith(PREPARED):
            loop.call_soon_threadsafe(go_on.wait, WITHIN)
        return data.startswith(PREPARED)

    relay.lose_answers(is_prepared, cut=False)
    reads = [database.fetch("thing_names", Name) for _ in range(2)]
    await asyncio.gather(*reads, return_exceptions=True)
    relay.lose_answers(lambda _: False)
    await database.aclose()
