"""PgBouncer between the service and PostgreSQL, in the modes that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from operator_svc.db import ConstraintViolation, Database, Nothing, connect
from operator_svc.db.migrations import ensure
from operator_svc.errors import ConfigurationError
from operator_svc.settings import Settings
from tests.db.things import Count, Name, Named, beside, end_all_backends, unavailable, warm
from tests.fakes.eventually import WITHIN, eventually
from tests.fakes.pgbouncer import PgBouncer, PoolMode, through
from tests.fakes.postgres import PostgresServer
from tests.fakes.relay import Relay
from tests.fakes.standby import Pair
from tests.rest.rest_service import TOKEN, running


@pytest.fixture(params=["session", "transaction"])
def pooler(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """A pooler in each of the modes that Operator can work with."""
    made = PgBouncer(postgres_server.folder, request.param, size=30)
    yield made
    made.stop()


@pytest.fixture
async def pooled(open_things: Any, pooler: PgBouncer, empty_postgresql_url: str) -> Database:
    """The small schema by way of the pooler."""
    url = through(pooler, empty_postgresql_url)
    database: Database = await open_things(
        url, database_direct_url=empty_postgresql_url, db_pool_size=8, db_timeout=2.0
    )
    return database


async def test_statements_of_many_connections_are_not_mixed_up(pooled: Database) -> None:
    async def work(number: int) -> None:
        for turn in range(20):
            name = f"{number} {turn}"
            await pooled.write("thing_name", Nothing, name=name)
            (found,) = await pooled.fetch("thing_named", Named, name=name)
            assert found.name == name

    await asyncio.gather(*[work(number) for number in range(16)])
    assert len(await pooled.fetch("thing_names", Name)) == 320


async def test_a_statement_that_fails_leaves_its_connection_usable(pooled: Database) -> None:
    await pooled.write("thing_name", Nothing, name="a")
    for _ in range(20):
        with pytest.raises(ConstraintViolation):
            await pooled.write("thing_name", Nothing, name="a")
    await pooled.ping()
    assert await pooled.fetch("thing_names", Name) == [Name("a")]


async def test_a_statement_that_takes_too_long_is_ended(pooled: Database) -> None:
    await unavailable(pooled.fetch("wait_long", Count))
    await pooled.write("thing_name", Nothing, name="a")
    assert await pooled.fetch("thing_names", Name) == [Name("a")]


async def test_a_statement_that_nobody_waits_for_is_ended_without_a_request_to_cancel(
    open_things: Any, postgres_server: PostgresServer, empty_postgresql_url: str
) -> None:
    pooler = PgBouncer(postgres_server.folder, "transaction")
    try:
        url = through(pooler, empty_postgresql_url)
        database: Database = await open_things(
            url, database_direct_url=empty_postgresql_url, db_timeout=2.0
        )
        late = [asyncio.create_task(database.fetch("wait_long", Count)) for _ in range(3)]
        gone = [asyncio.create_task(database.fetch("wait_long", Count)) for _ in range(3)]
        await eventually(lambda: sleeping_statements(empty_postgresql_url) or late[0].done())
        for task in gone:
            task.cancel()
        for task in late:
            await unavailable(task)
        await eventually(lambda: sleeping_statements(empty_postgresql_url) == 0)
        assert len(await asyncio.gather(*gone, return_exceptions=True)) == 3
        assert "cancel request" not in pooler.log
        await database.write("thing_name", Nothing, name="a")
    finally:
        pooler.stop()


def sleeping_statements(url: str) -> int:
    """The number of statements that wait in ``wait_long``."""
    with beside(url) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        )
        return int(rows.fetchall()[0][0])


async def test_parallel_chats_are_all_answered(pooler: PgBouncer, postgresql_url: str) -> None:
    async with running(through(pooler, postgresql_url), database_direct_url=postgresql_url) as one:
        answers = await asyncio.gather(
            *[one.chat(f"number {n}", session_id=f"s{n % 4}") for n in range(36)]
        )
        assert all(answer["metadata"]["status"] == "ok" for answer in answers)
        assert (await one.get("/health/ready")).status == 200
        history = await (await one.get("/operator/session/s0")).json()
        assert history["message_count"] == 18


@pytest.mark.one_bus  # it is PostgreSQL's that goes past the pooler
async def test_pods_by_way_of_a_pooler_hear_of_each_other(
    pooler: PgBouncer, postgresql_url: str
) -> None:
    url = through(pooler, postgresql_url)
    async with (
        running(url, database_direct_url=postgresql_url) as one,
        running(url, database_direct_url=postgresql_url) as two,
        two.session.ws_connect(f"{two.url}/ws/s", headers={"X-VX11-Token": TOKEN}) as socket,
    ):
        assert (await socket.receive_json(timeout=WITHIN))["type"] == "ready"
        await one.chat("hello", session_id="s")
        async with asyncio.timeout(WITHIN):
            while (await socket.receive_json()).get("event") != "reply.completed":
                pass


async def test_a_lease_is_kept_by_way_of_the_pooler_while_the_direct_way_is_down(
    postgres_server: PostgresServer, pooler: PgBouncer, postgresql_url: str
) -> None:
    name = postgresql_url.partition("@/")[2].partition("?")[0]
    async with Relay(postgres_server.folder) as relay:
        direct = f"postgresql://postgres@/{name}?host={relay.folder}"
        async with running(through(pooler, postgresql_url), database_direct_url=direct) as one:
            relay.target = None
            end_all_backends(postgresql_url)
            with beside(postgresql_url) as connection:
                ((cut,),) = connection.execute("SELECT clock_timestamp()").fetchall()
                renewed = "SELECT 1 FROM operator_pod WHERE renewed_at > %s"
                await eventually(lambda: connection.execute(renewed, [cut]).fetchall())
            assert (await one.chat("hello"))["metadata"]["status"] == "ok"


@pytest.mark.parametrize(
    ("mode", "direct", "told"),
    [
        ("transaction", False, "set OPERATOR_DATABASE_DIRECT_URL"),
        ("statement", False, "in statement mode"),
        ("statement", True, "in statement mode"),
    ],
)
async def test_a_pooler_that_cannot_be_used_is_refused_in_one_line_that_says_why(
    postgres_server: PostgresServer, postgresql_url: str, mode: PoolMode, direct: bool, told: str
) -> None:
    pooler = PgBouncer(postgres_server.folder, mode)
    try:
        settings = Settings(
            database_url=through(pooler, postgresql_url),
            database_direct_url=postgresql_url if direct else "",
        )
        for start in (connect,) if direct else (ensure, connect):  # migrations go past it
            with pytest.raises(ConfigurationError) as caught:
                await start(settings)
            (line,) = caught.value.problems
            assert told in line
    finally:
        pooler.stop()


async def test_a_direct_way_that_does_not_keep_sessions_is_refused(
    postgres_server: PostgresServer, postgresql_url: str
) -> None:
    pooler = PgBouncer(postgres_server.folder, "transaction")
    try:
        url = through(pooler, postgresql_url)
        for database_url in (url, postgresql_url):
            with pytest.raises(ConfigurationError, match="does not keep sessions"):
                await connect(Settings(database_url=database_url, database_direct_url=url))
    finally:
        pooler.stop()


async def test_a_pooler_that_keeps_sessions_needs_no_other_way(
    postgres_server: PostgresServer, empty_postgresql_url: str
) -> None:
    pooler = PgBouncer(postgres_server.folder, "session", size=30)
    try:
        url = through(pooler, empty_postgresql_url)
        assert await ensure(Settings(database_url=url))
        async with running(url) as one:
            assert (await one.chat("hello"))["metadata"]["status"] == "ok"
    finally:
        pooler.stop()


async def test_migrations_go_past_the_pooler(pooler: PgBouncer, empty_postgresql_url: str) -> None:
    url = through(pooler, empty_postgresql_url)
    assert await ensure(Settings(database_url=url, database_direct_url=empty_postgresql_url))


async def test_a_restarted_pooler_is_used_again(
    open_things: Any, postgres_server: PostgresServer, empty_postgresql_url: str
) -> None:
    first = PgBouncer(postgres_server.folder, "transaction")
    url = through(first, empty_postgresql_url)
    database: Database = await open_things(
        url, database_direct_url=empty_postgresql_url, db_pool_size=4, db_timeout=2.0
    )
    first.restart()
    try:
        await database.ping()
        await database.write("thing_name", Nothing, name="a")
    finally:
        first.stop()


async def test_the_first_statement_after_a_failover_tells_of_it_before_its_rows(
    open_things: Any,
) -> None:
    pair = Pair()
    async with Relay(pair.first.folder) as relay:
        pooler = PgBouncer(relay.folder, "transaction")
        try:
            database: Database = await open_things(
                pooler.url(pair.database), database_direct_url=pair.url, db_timeout=30.0
            )
            await warm(database)
            heard: list[str] = []
            database.on_new_history(lambda: heard.append(database.history))
            await asyncio.to_thread(pair.lose_from_now)
            before = database.history
            await database.write("thing_name", Nothing, name="lost")
            assert heard == []
            relay.target = pair.second.folder
            await asyncio.to_thread(pair.fail_over)
            assert await database.fetch("thing_names", Name) == []
            assert heard == [database.history] != [before]
            await database.write("thing_name", Nothing, name="kept")
            assert len(heard) == 1
        finally:
            pooler.stop()
            pair.remove()
