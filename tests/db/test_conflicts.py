"""Statements that PostgreSQL undoes because of others: tried again, in one place, not for ever."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import psycopg
import pytest

from operator_svc.db import Database, Nothing, connect
from operator_svc.db.postgresql_connections import ATTEMPTS
from operator_svc.settings import Settings
from operator_svc.stores.events import EventStore
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.sessions import SessionStore
from tests.db.things import Name, unavailable

CONFLICTS = ["40001", "40P01"]


async def fail_first(database: Database, times: int, code: str) -> None:
    """Have the server undo the next inserts into thing; a sequence counts, since nothing undoes
    what it gave."""
    async with database.transaction() as transaction:
        await transaction.execute("CREATE SEQUENCE attempt")
        await transaction.execute(
            "CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF nextval('attempt') <= {times} THEN"
            f" RAISE EXCEPTION 'undone' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$"
        )
        await transaction.execute(
            "CREATE TRIGGER undone BEFORE INSERT ON thing FOR EACH ROW EXECUTE FUNCTION undo()"
        )


@pytest.fixture
async def pg_things(open_things: Any, empty_postgresql_url: str) -> Database:
    database: Database = await open_things(empty_postgresql_url, db_pool_size=2, db_timeout=5.0)
    return database


@pytest.mark.parametrize("code", CONFLICTS)
async def test_a_write_that_was_undone_is_tried_again(pg_things: Database, code: str) -> None:
    await fail_first(pg_things, 3, code)
    await pg_things.write("thing_name", Nothing, name="a")
    assert await pg_things.fetch("thing_names", Name) == [Name("a")]


@pytest.mark.parametrize("code", CONFLICTS)
async def test_a_write_that_is_always_undone_is_unavailable_after_some_attempts(
    pg_things: Database, empty_postgresql_url: str, code: str
) -> None:
    await fail_first(pg_things, 1000, code)
    await unavailable(pg_things.write("thing_name", Nothing, name="a"))
    with psycopg.connect(empty_postgresql_url) as beside:
        assert beside.execute("SELECT last_value FROM attempt").fetchone() == (ATTEMPTS,)


async def test_an_error_of_the_statement_itself_is_not_tried_again(
    pg_things: Database, empty_postgresql_url: str
) -> None:
    await fail_first(pg_things, 1000, "22012")
    with pytest.raises(Exception, match="undone"):
        await pg_things.write("thing_name", Nothing, name="a")
    with psycopg.connect(empty_postgresql_url) as beside:
        assert beside.execute("SELECT last_value FROM attempt").fetchone() == (1,)


async def test_a_real_deadlock_fails_nobody(pg_things: Database, empty_postgresql_url: str) -> None:
    with psycopg.connect(empty_postgresql_url) as other:
        # Each side has inserted the name that the other one inserts next.
        other.execute("INSERT INTO thing (name) VALUES ('d')")
        writing = asyncio.create_task(
            pg_things.write("thing_name_twice", Nothing, name="c", other="d")
        )
        await asyncio.sleep(0.3)  # the write has its first row, and waits for the second
        wanting = asyncio.to_thread(other.execute, "INSERT INTO thing (name) VALUES ('c')")
        await asyncio.gather(wanting, return_exceptions=True)  # the server undoes either of them
        other.rollback()
        await writing
    assert {row.name for row in await pg_things.fetch("thing_names", Name)} == {"c", "d"}


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_any_default_isolation_level_serves(postgresql_url: str, level: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as beside:
        name = beside.info.dbname
        beside.execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'".encode()
        )
    database = await connect(Settings(database_url=postgresql_url))
    try:
        messages = MessageStore(database)
        chat: dict[str, Any] = {"content": "x", "metadata": {}, "pod_id": "pod", "key": None}
        await messages.start_new(
            session_id="s", epoch=str(uuid.uuid4()), user_id="ana", source="api", **chat
        )
        started = await asyncio.gather(
            *[
                messages.start(session_id="s", viewer=None, exchanges=9, max_chars=9, **chat)
                for _ in range(40)
            ]
        )
        assert sorted(one.last_seq for one in started if one) == list(range(5, 84, 2))
        assert len((await EventStore(database).after("s", 0, 100)).rows) == 83
        assert await SessionStore(database).get("s")
    finally:
        await database.aclose()
