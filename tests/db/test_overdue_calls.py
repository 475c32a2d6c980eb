"""Answers of PostgreSQL that are lost on their way, by connections that nobody closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from operator_svc.db import Database, Nothing, postgresql_connections, postgresql_overdue
from tests.db.things import Name, end_all_backends, unavailable, warm
from tests.fakes.eventually import eventually
from tests.fakes.pgbouncer import PgBouncer
from tests.fakes.postgres import PostgresServer
from tests.fakes.relay import Relay

TIMEOUT = 120.0
"""Seconds that a call may take: no test waits for that."""
POOL = 4


@pytest.fixture(params=["none", "session"])
async def relay(
    request: pytest.FixtureRequest, postgres_server: PostgresServer
) -> AsyncIterator[Relay]:
    """A relay before the server, and before a pooler that keeps sessions."""
    pooler = PgBouncer(postgres_server.folder, "session") if request.param == "session" else None
    async with Relay(pooler.folder if pooler else postgres_server.folder) as made:
        yield made
    if pooler is not None:
        pooler.stop()


@pytest.fixture
async def things(
    open_things: Any, relay: Relay, empty_postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Database]:
    """A database beyond the relay, which looks often for calls that are overdue."""
    monkeypatch.setattr(postgresql_overdue, "OVERDUE_SECONDS", 0.2)
    monkeypatch.setattr(postgresql_overdue, "CHECK_SECONDS", 0.3)
    monkeypatch.setattr(postgresql_connections, "OPEN_SECONDS", 0.5)
    name = empty_postgresql_url.partition("@/")[2].partition("?")[0]
    url = f"postgresql://postgres@/{name}?host={relay.folder}"
    database: Database = await open_things(url, db_pool_size=POOL, db_timeout=TIMEOUT)
    await warm(database)
    yield database
    await database.aclose()


async def test_reads_are_answered_although_all_connections_have_gone_mute(
    things: Database, relay: Relay
) -> None:
    await things.write("thing_name", Nothing, name="a")
    relay.lose_answers(lambda _: True, cut=False)
    reading = [asyncio.create_task(things.fetch("thing_names", Name)) for _ in range(2 * POOL)]
    await eventually(lambda: relay.lost >= POOL)
    relay.lose_answers(lambda _: False)
    async with asyncio.timeout(TIMEOUT / 2):
        assert await asyncio.gather(*reading) == [[Name("a")]] * 2 * POOL


async def test_a_write_whose_answer_was_lost_is_not_made_again(
    things: Database, relay: Relay
) -> None:
    relay.lose_answers(lambda data: b"INSERT" in data, cut=False)
    await unavailable(things.write("thing_name", Nothing, name="a"), at_once=True)
    relay.lose_answers(lambda _: False)
    assert await things.fetch("thing_names", Name) == [Name("a")]
    assert relay.lost == 1


async def test_a_connection_whose_opening_is_not_answered_is_opened_anew(
    things: Database, relay: Relay, empty_postgresql_url: str
) -> None:
    end_all_backends(empty_postgresql_url)
    relay.lose_answers(lambda _: relay.lost == 0, cut=False)
    async with asyncio.timeout(TIMEOUT / 2):
        assert await things.fetch("thing_names", Name) == []
    assert relay.lost == 1


async def test_a_statement_that_is_slow_and_not_lost_keeps_its_connection(
    things: Database, relay: Relay
) -> None:
    before = relay.accepted
    waiting = asyncio.create_task(things.fetch("wait_long", Name))
    await eventually(lambda: relay.accepted >= before + 5)  # the server was asked five times
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await things.write("thing_name", Nothing, name="a")
