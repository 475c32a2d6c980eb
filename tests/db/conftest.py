"""A small schema and its queries, for tests of the engines themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from operator_svc.db import Database, connect
from operator_svc.settings import Settings
from tests.db.things import TIMEOUT

if TYPE_CHECKING:
    from tests.fakes.postgres import PostgresServer

SHARED = """
-- name: thing_all()
-- It's all of them: a comment may say :anything
SELECT id, name, done, score, data, at, body, colour FROM thing ORDER BY id;  -- don't stop here

-- name: thing_names()
SELECT name FROM thing ORDER BY id;

-- name: thing_count()
SELECT count(*) AS count FROM thing

-- name: thing_named(name)
SELECT id, name FROM thing WHERE name = :name OR name = 'not :a parameter'

-- name: thing_quote()
SELECT 'call now() later' AS name

-- name: moments()
SELECT now() AS one, NOW ( ) AS two, "now()"."now()" AS three
FROM (SELECT now() AS "now()") AS "now()"
"""

SQLITE = """
-- name: thing_add(name, done, score, data, at, body, colour)
INSERT INTO thing (name, done, score, data, at, body, colour)
VALUES (:name, :done, :score, :data, :at, :body, :colour)
RETURNING id;

-- name: thing_name(name)
INSERT INTO thing (name) VALUES (:name);

-- name: thing_name_twice(name, other)
INSERT INTO thing (name) VALUES (:name);
INSERT INTO thing (name) VALUES (:other) RETURNING id;
UPDATE thing SET score = 1 WHERE name = :name;

-- name: thing_remove(name, other)
DELETE FROM thing WHERE (name = :name AND :other IS NOT NULL) OR name = 'last';

-- name: part_add(thing)
INSERT INTO part (thing) VALUES (:thing);

-- name: thing_rename(name, new_name, colour)
/*+ only if :new_name */
UPDATE thing SET name = :new_name WHERE name = :name;
/*+ only if :colour */
UPDATE thing SET colour = :colour WHERE name = coalesce(:new_name, :name);

-- name: wait_long()
WITH RECURSIVE forever (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM forever)
SELECT count(*) AS count FROM forever;
"""

POSTGRESQL = """
-- name: thing_add(name, done, score, data, at, body, colour)
INSERT INTO thing (name, done, score, data, at, body, colour)
VALUES (:name, :done, :score, :data::jsonb, :at, :body, :colour)
RETURNING id;

-- name: thing_name(name)
INSERT INTO thing (name) VALUES (:name);

-- name: thing_name_twice(name, other)
WITH one AS (INSERT INTO thing (name, score) VALUES (:name, 1))
INSERT INTO thing (name) VALUES (:other) RETURNING id

-- name: thing_remove(name, other)
DELETE FROM thing WHERE (name = :name AND CAST(:other AS text) IS NOT NULL) OR name = 'last';

-- name: part_add(thing)
INSERT INTO part (thing) VALUES (:thing);

-- name: thing_rename(name, new_name, colour)
UPDATE thing SET name = coalesce(:new_name, name), colour = coalesce(:colour, colour)
WHERE name = :name;

-- name: wait_long()
SELECT count(*) AS count FROM pg_sleep(30)
"""

TABLES = {
    "sqlite": (
        "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, done INTEGER,"
        " score REAL CONSTRAINT score_is_small CHECK (score < 100), data TEXT, at TEXT,"
        " body BLOB, colour TEXT)",
        "CREATE TABLE part (thing INTEGER NOT NULL"
        " REFERENCES thing (id) DEFERRABLE INITIALLY DEFERRED)",
    ),
    "postgresql": (
        "CREATE TABLE thing (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " name text NOT NULL UNIQUE, done boolean, score float8,"
        " data jsonb, at timestamptz, body bytea, colour text,"
        " CONSTRAINT score_is_small CHECK (score < 100))",
        "CREATE TABLE part (thing int NOT NULL CONSTRAINT part_of REFERENCES thing (id))",
    ),
}


OpenEngine = Callable[..., Awaitable[Database]]


@pytest.fixture
def things_sql(tmp_path: Path) -> Path:
    """The folder of the small schema's queries."""
    folder = tmp_path / "sql"
    for part, text in (("", SHARED), ("sqlite", SQLITE), ("postgresql", POSTGRESQL)):
        (folder / part).mkdir(parents=True)
        (folder / part / "thing.sql").write_text(text)
    return folder


@pytest.fixture
async def open_things(things_sql: Path) -> AsyncIterator[OpenEngine]:
    """Opens a database with the small schema: ``await open_things(url, create=True, **settings)``;
    it is closed after the test."""
    opened: list[Database] = []

    async def open_one(url: str, *, create: bool = True, **settings: Any) -> Database:
        database = await connect(Settings(database_url=url, **settings), queries=things_sql)
        opened.append(database)
        if create:
            async with database.transaction() as transaction:
                for statement in TABLES[database.dialect]:
                    await transaction.execute(statement)
        return database

    yield open_one
    for database in opened:
        await database.aclose()


@pytest.fixture
async def things(open_things: OpenEngine, empty_database_url: str) -> Database:
    """A database with the small schema: the test runs once on each engine."""
    return await open_things(empty_database_url)


@pytest.fixture
async def sqlite_things(open_things: OpenEngine, empty_sqlite_url: str) -> Database:
    """An SQLite database with the small schema."""
    return await open_things(empty_sqlite_url)


@pytest.fixture
async def pg_things(open_things: OpenEngine, empty_postgresql_url: str) -> Database:
    """A PostgreSQL database with the small schema, on the shared server."""
    return await open_things(empty_postgresql_url, db_pool_size=4, db_timeout=TIMEOUT)


@pytest.fixture
async def own_things(open_things: OpenEngine, own_postgres_server: PostgresServer) -> Database:
    """The same on a server of its own."""
    url = own_postgres_server.url(own_postgres_server.create_database())
    return await open_things(url, db_pool_size=4, db_timeout=TIMEOUT)
