"""A primary that is demoted, in each way that it happens, and a standby that takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from operator_svc.db import Database, Nothing, connect
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.settings import Settings
from tests.db.things import Name, unavailable, warm
from tests.fakes.eventually import WITHIN, block_until
from tests.fakes.postgres import PostgresServer
from tests.fakes.relay import Relay
from tests.fakes.standby import Pair

POOL = 4


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.remove()


@pytest.fixture
async def things_of_pair(open_things: Any, pair: Pair) -> Database:
    """A database with the small schema on both, opened by the URL that names both."""
    database: Database = await open_things(pair.url, db_pool_size=POOL, db_timeout=5.0)
    await database.write("thing_name", Nothing, name="before")
    await warm(database)
    return database


def set_read_only(server: PostgresServer, value: str = "on") -> None:
    """Have a server take no more writes, as managed databases do before a switch-over."""
    server.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    server.execute("SELECT pg_reload_conf()")
    block_until(lambda: server.execute("SHOW default_transaction_read_only") == [(value,)])


async def test_writes_go_to_the_new_primary_after_a_switch_over(
    things_of_pair: Database, pair: Pair
) -> None:
    await asyncio.to_thread(pair.switch_over)
    await things_of_pair.ping()
    await asyncio.gather(
        *[things_of_pair.write("thing_name", Nothing, name=f"after {n}") for n in range(2 * POOL)]
    )
    for n in range(2 * POOL):
        await things_of_pair.write("thing_name", Nothing, name=f"later {n}")
    assert len(await things_of_pair.fetch("thing_names", Name)) == 1 + 4 * POOL
    assert pair.second.execute("SELECT count(*) FROM thing", pair.database) == [(17,)]


async def test_no_write_fails_when_a_primary_turns_read_only_and_another_takes_over(
    things_of_pair: Database, pair: Pair
) -> None:
    pair.second.catch_up()
    set_read_only(pair.first)
    pair.second.promote()
    await asyncio.gather(
        *[things_of_pair.write("thing_name", Nothing, name=f"after {n}") for n in range(2 * POOL)]
    )
    assert pair.second.execute("SELECT count(*) FROM thing", pair.database) == [(9,)]
    assert pair.first.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'operator-svc'"
    ) == [(0,)]


async def test_a_read_only_primary_is_unavailable_until_one_takes_writes(
    things_of_pair: Database, pair: Pair
) -> None:
    set_read_only(pair.first)
    for _ in range(2):
        await unavailable(things_of_pair.ping())
        await unavailable(things_of_pair.write("thing_name", Nothing, name="refused"))
    # What a standby shows is old, so it is not shown.
    await unavailable(things_of_pair.fetch("thing_names", Name))
    pair.second.promote()
    await things_of_pair.ping()
    assert await things_of_pair.fetch("thing_names", Name) == [Name("before")]


async def test_a_primary_that_takes_writes_again_is_used_again(
    things_of_pair: Database, pair: Pair
) -> None:
    set_read_only(pair.first)
    await unavailable(things_of_pair.ping())
    set_read_only(pair.first, "off")
    await things_of_pair.ping()
    await things_of_pair.write("thing_name", Nothing, name="after")


async def test_one_address_that_leads_to_another_server_is_followed(
    open_things: Any, pair: Pair
) -> None:
    async with Relay(pair.first.folder) as relay:
        url = f"postgresql://postgres@/{pair.database}?{urlencode({'host': str(relay.folder)})}"
        database: Database = await open_things(url, db_pool_size=POOL, db_timeout=5.0)
        await warm(database)
        # The address still leads to the old primary when it comes back as a standby, and its
        # connections stay when the address moves on, as with a Service or a DNS name.
        await asyncio.to_thread(pair.switch_over)
        await unavailable(database.write("thing_name", Nothing, name="too early"))
        await unavailable(database.ping())
        relay.target = pair.second.folder
        await database.ping()
        for n in range(2 * POOL):
            await database.write("thing_name", Nothing, name=f"after {n}")


async def test_a_host_that_does_not_answer_is_passed_over(open_things: Any, pair: Pair) -> None:
    async with Relay(pair.first.folder) as relay:
        hosts = urlencode({"host": f"{relay.folder},{pair.second.folder}", "connect_timeout": 1})
        url = f"postgresql://postgres@/{pair.database}?{hosts}"
        database: Database = await open_things(url, db_pool_size=POOL, db_timeout=60.0)
        await warm(database)
        pair.second.catch_up()
        pair.second.promote()
        relay.freeze()  # a machine that vanished: it says nothing any more, not even goodbye
        # Who waits for it is told by the new primary that no answer comes, and asks that one.
        async with asyncio.timeout(WITHIN):
            await asyncio.gather(*[database.fetch("thing_names", Name) for _ in range(2 * POOL)])
        accepted = relay.accepted
        await asyncio.gather(
            *[database.write("thing_name", Nothing, name=f"after {n}") for n in range(2 * POOL)]
        )
        assert relay.accepted == accepted, "it is not tried again for each connection"


async def test_a_lost_connection_costs_its_own_place_only(
    open_things: Any, empty_postgresql_url: str
) -> None:
    database: Database = await open_things(empty_postgresql_url, db_pool_size=POOL, db_timeout=5.0)
    await warm(database)
    ours = "application_name = 'operator-svc' AND datname = current_database()"
    with psycopg.connect(empty_postgresql_url, autocommit=True) as beside:
        before = {
            row[0]
            for row in beside.execute(f"SELECT pid FROM pg_stat_activity WHERE {ours}".encode())
        }
        assert len(before) == POOL
        beside.execute("SELECT pg_terminate_backend(%s, 5000)", [min(before)])
        await warm(database)  # the statement that lost its connection may have had another's
        await warm(database)
        after = {
            row[0]
            for row in beside.execute(f"SELECT pid FROM pg_stat_activity WHERE {ours}".encode())
        }
    assert before - after == {min(before)}
    assert len(after) == POOL


async def test_a_session_without_our_statements_fails_no_write(
    open_things: Any, empty_postgresql_url: str
) -> None:
    """A pooler that does not keep sessions puts another one behind a connection (26000)."""
    database: Database = await open_things(empty_postgresql_url, db_pool_size=1, db_timeout=5.0)
    await database.write("thing_name", Nothing, name="prepared")
    async with database.transaction() as transaction:
        await transaction.execute("DEALLOCATE ALL")
    await database.write("thing_name", Nothing, name="written")
    assert await database.fetch("thing_names", Name) == [Name("prepared"), Name("written")]


async def test_a_session_with_statements_of_others_fails_no_write(
    open_things: Any, empty_postgresql_url: str
) -> None:
    """The same, where the other session has a statement of the name that is next here (42P05)."""
    database: Database = await open_things(empty_postgresql_url, db_pool_size=1, db_timeout=5.0)
    async with database.transaction() as transaction:
        rows = await transaction.fetch("SELECT max(name) FROM pg_prepared_statements")
        last = int(rows[0][0].split("_")[-3], 16)
        for number in range(last + 1, last + 30):
            await transaction.execute(f"PREPARE __asyncpg_stmt_{number:x}__ AS SELECT 1")
    await database.write("thing_name", Nothing, name="written")
    assert await database.fetch("thing_names", Name) == [Name("written")]


@contextmanager
def no_connections(server: PostgresServer, database: str) -> Iterator[None]:
    """The database lets nobody in (55000), and those who are in are thrown out."""
    server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
    server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    )
    try:
        yield
    finally:
        server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")


async def test_a_database_that_lets_nobody_in_is_unavailable(
    open_things: Any, postgres_server: PostgresServer, empty_postgresql_url: str
) -> None:
    database: Database = await open_things(empty_postgresql_url, db_pool_size=POOL, db_timeout=5.0)
    await warm(database)
    name = empty_postgresql_url.partition("@/")[2].partition("?")[0]
    with no_connections(postgres_server, name):
        await asyncio.sleep(0.1)  # the ends of the connections arrive
        await unavailable(database.fetch("thing_names", Name))
        await unavailable(database.write("thing_name", Nothing, name="refused"))
        with pytest.raises(OperatorError) as caught:
            await connect(Settings(database_url=empty_postgresql_url))
        assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    assert await database.fetch("thing_names", Name) == []
