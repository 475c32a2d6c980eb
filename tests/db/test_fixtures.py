"""The shared fixtures give what they say."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession
from aioresponses import aioresponses

from operator_svc.bus import PostgresqlBus
from operator_svc.db import Database
from operator_svc.db.migrations import at_head
from operator_svc.settings import Settings


async def test_a_database_is_migrated_and_answers(database: Database) -> None:
    await database.ping()
    assert await at_head(database)


async def test_each_test_has_its_own(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.execute("CREATE TABLE only_here (id int)")


async def test_what_another_test_made_is_not_here(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.execute("CREATE TABLE only_here (id int)")


async def test_a_second_process_is_refused_to_a_test_that_does_not_run_on_each_bus(
    postgresql_url: str,
) -> None:
    for _ in range(2):
        again = PostgresqlBus(Settings(database_url=postgresql_url))
        await again.open()
        await again.aclose()
    one, two = (PostgresqlBus(Settings(database_url=postgresql_url)) for _ in range(2))
    await one.open()
    with pytest.raises(AssertionError, match="bus_url"):
        await two.open()
    await one.aclose()


async def test_aioresponses_serves_this_aiohttp() -> None:
    with aioresponses() as mocked:
        mocked.get("http://switch:8002/health", payload={"status": "ok"})
        async with (
            ClientSession() as session,
            session.get("http://switch:8002/health") as response,
        ):
            assert await response.json() == {"status": "ok"}
