"""PostgreSQL by itself: a server that ends connections, stops, hangs, and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from operator_svc.db import Database, Nothing, connect
from operator_svc.errors import ConfigurationError, OperatorError
from operator_svc.settings import Settings
from tests.db.things import TIMEOUT, Count, Name, beside, end_all_backends, unavailable, warm
from tests.fakes.eventually import WITHIN, eventually

if TYPE_CHECKING:
    from tests.fakes.postgres import PostgresServer


async def test_reads_survive_connections_that_were_ended_while_idle(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    await warm(pg_things)
    end_all_backends(empty_postgresql_url)
    assert (
        await asyncio.gather(*[pg_things.fetch("thing_names", Name) for _ in range(8)]) == [[]] * 8
    )
    await pg_things.write("thing_name", Nothing, name="a")


async def test_a_write_on_a_connection_that_was_ended_while_idle_works(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    await warm(pg_things)
    end_all_backends(empty_postgresql_url)
    await asyncio.sleep(0.05)  # the ends of the connections arrive
    await pg_things.write("thing_name", Nothing, name="a")
    assert await pg_things.fetch("thing_names", Name) == [Name("a")]


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Somebody else has the table to himself."""
    with beside(url) as other, other.transaction():
        other.execute("LOCK TABLE thing IN ACCESS EXCLUSIVE MODE")
        yield


async def test_a_read_that_lost_its_connection_is_tried_once_more(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    with locked(empty_postgresql_url):
        reading = asyncio.create_task(pg_things.fetch("thing_count", Count))
        await eventually(lambda: terminate_waiting(empty_postgresql_url))
        await asyncio.sleep(0.2)  # it waits for the lock again
        assert not reading.done()
    assert await reading == [Count(0)]


async def test_a_write_that_lost_its_connection_is_not_tried_again(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    with locked(empty_postgresql_url):
        writing = asyncio.create_task(pg_things.write("thing_name", Nothing, name="a"))
        await eventually(lambda: terminate_waiting(empty_postgresql_url))
        await unavailable(writing)
    assert await pg_things.fetch("thing_names", Name) == []
    await pg_things.write("thing_name", Nothing, name="a")


def waiting(url: str) -> int:
    """The number of backends that wait for a lock."""
    with beside(url) as connection:
        (row,) = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(row[0])


def terminate_waiting(url: str) -> int:
    """End the backends that wait for a lock; their number."""
    with beside(url) as connection:
        (row,) = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(row[0])


async def test_a_write_that_takes_too_long_is_ended_on_the_server_too(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    with locked(empty_postgresql_url):
        await unavailable(pg_things.write("thing_name", Nothing, name="late"))
        await eventually(lambda: not waiting(empty_postgresql_url))
    await asyncio.sleep(0.1)  # time in which it would be done
    assert await pg_things.fetch("thing_names", Name) == []


async def test_a_write_whose_caller_gave_up_is_done(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    with locked(empty_postgresql_url):
        writing = asyncio.create_task(pg_things.write("thing_name", Nothing, name="a"))
        await eventually(lambda: waiting(empty_postgresql_url))
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

    async def is_done() -> bool:
        return await pg_things.fetch("thing_names", Name) == [Name("a")]

    await eventually(is_done)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_server_that_stops_and_comes_back(
    own_things: Database, own_postgres_server: PostgresServer, how: signal.Signals
) -> None:
    await warm(own_things)
    await own_things.write("thing_name", Nothing, name="before")
    own_postgres_server.stop(how)
    for _ in range(3):
        await unavailable(own_things.fetch("thing_names", Name), at_once=True)
        await unavailable(own_things.write("thing_name", Nothing, name="lost"), at_once=True)
        await unavailable(own_things.ping(), at_once=True)
    own_postgres_server.start()
    assert await own_things.fetch("thing_names", Name) == [Name("before")]
    await own_things.write("thing_name", Nothing, name="after")


async def test_calls_under_way_when_the_server_crashes_end_at_once(
    own_things: Database, own_postgres_server: PostgresServer
) -> None:
    calls = [asyncio.create_task(own_things.fetch("wait_long", Count)) for _ in range(8)]
    await asyncio.sleep(0.3)  # the calls are under way
    own_postgres_server.stop(signal.SIGQUIT)
    await asyncio.gather(*[unavailable(call, at_once=True) for call in calls])
    own_postgres_server.start()
    await own_things.write("thing_name", Nothing, name="after")


async def test_a_server_that_hangs_and_comes_back(
    own_things: Database, own_postgres_server: PostgresServer
) -> None:
    await warm(own_things)
    with hanging(own_postgres_server):
        started = asyncio.get_running_loop().time()
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: own_things.fetch("thing_names", Name),
            lambda: own_things.write("thing_name", Nothing, name="lost"),
            own_things.ping,
        ]
        for _ in range(2):
            await asyncio.gather(*[unavailable(call()) for call in calls * 3])
        assert asyncio.get_running_loop().time() - started < 10 * 2 * TIMEOUT
    await asyncio.sleep(0.2)  # the server reads what was sent to it meanwhile
    await own_things.write("thing_name", Nothing, name="after")
    assert Name("after") in await own_things.fetch("thing_names", Name)


async def test_closing_does_not_wait_for_a_server_that_hangs(
    own_things: Database, own_postgres_server: PostgresServer
) -> None:
    await warm(own_things)
    with hanging(own_postgres_server):
        async with asyncio.timeout(WITHIN):
            await own_things.aclose()


@contextmanager
def hanging(server: PostgresServer) -> Iterator[None]:
    """The server and its connections stand still meanwhile."""
    everyone = [server.pid, *backends(server)]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)


def backends(server: PostgresServer) -> list[int]:
    """The process ids of the server's connections."""
    rows = server.execute(
        "SELECT pid FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return [row[0] for row in rows]


async def test_a_read_only_server_is_a_temporary_error(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    with beside(empty_postgresql_url) as other:
        name = other.info.dbname
        other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    end_all_backends(empty_postgresql_url)
    await asyncio.sleep(0.05)  # the ends of the connections arrive
    await unavailable(pg_things.write("thing_name", Nothing, name="a"))
    await unavailable(pg_things.fetch("thing_names", Name))
    await unavailable(pg_things.ping())


PASSING = [
    *("08000", "08003", "08006", "08007", "08P01"),
    *("25000", "25001", "25006", "25P01", "25P02", "25P03", "25P04"),
    *("26000", "42P05", "40000", "40001", "40003", "40P01"),
    *("53000", "53100", "53200", "53300", "53400", "55P03"),
    *("57000", "57014", "57P01", "57P02", "57P03", "57P04", "57P05"),
    *("58000", "58030", "58P01", "58P02"),
]


async def test_states_of_the_server_and_of_a_connection_are_temporary_errors(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    with beside(empty_postgresql_url) as other:
        other.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = new.name; END $$"
        )
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON thing FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        for code in PASSING:
            await unavailable(pg_things.write("thing_name", Nothing, name=code))
        other.execute("DROP TRIGGER refuse ON thing")
    await pg_things.write("thing_name", Nothing, name="a")


async def test_too_many_connections_is_a_temporary_error(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    with beside(empty_postgresql_url) as other:
        other.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 1")
        url = empty_postgresql_url.replace("postgres@", "crowded@")
        with psycopg.connect(url):
            await unavailable(connect(Settings(database_url=url, db_timeout=TIMEOUT)))
        other.execute("DROP ROLE crowded")


async def test_what_the_server_refuses_for_good_is_a_configuration_error(
    postgres_server: PostgresServer,
) -> None:
    for url in (
        postgres_server.url("no_such_database"),
        postgres_server.url().replace("postgres@", "nobody_knows@"),
        f"{postgres_server.url()}&sslmode=nonsense",
    ):
        with pytest.raises(ConfigurationError):
            await connect(Settings(database_url=url))


async def test_a_server_that_is_not_there_is_a_temporary_error(tmp_path: Any) -> None:
    for url in (
        f"postgresql://postgres@/x?host={tmp_path}",
        "postgresql://postgres@127.0.0.1:1/x",
    ):
        await unavailable(connect(Settings(database_url=url, db_timeout=TIMEOUT)))


async def test_a_call_after_a_schema_change_works(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    await warm(pg_things)
    with beside(empty_postgresql_url) as other:
        other.execute("ALTER TABLE thing ALTER COLUMN name TYPE varchar(100)")
    await pg_things.write("thing_name", Nothing, name="a")
    assert await pg_things.fetch("thing_names", Name) == [Name("a")]


async def test_a_fault_of_the_sql_is_not_hidden(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    await pg_things.write("thing_name", Nothing, name="a")
    with beside(empty_postgresql_url) as other:
        other.execute("ALTER TABLE thing RENAME TO something")
        with pytest.raises(Exception, match='relation "thing" does not exist') as caught:
            await pg_things.fetch("thing_names", Name)
        assert not isinstance(caught.value, OperatorError)
        other.execute("ALTER TABLE something RENAME TO thing")
    assert await pg_things.fetch("thing_names", Name) == [Name("a")]
