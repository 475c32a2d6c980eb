"""A database that was lent before is as a new one, whatever the test before did to it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from operator_svc.db.migrations import migrate
from tests.fakes import database_pool
from tests.fakes.database_pool import DatabasePool
from tests.fakes.postgres import PostgresServer

SESSION = """
    INSERT INTO operator_session (session_id, epoch, user_id, source)
    VALUES ('s', gen_random_uuid(), 'u', 'http')
"""
MESSAGE = """
    INSERT INTO operator_message (session_id, role, content, status)
    VALUES ('s', 'user', 'hi', 'complete')
"""
TABLES = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
VALUES = "SELECT sequencename, last_value FROM pg_sequences"
MORE_THAN_ROWS = (
    "ALTER TABLE operator_session ADD COLUMN more text",
    "DROP INDEX operator_session_active",
    "CREATE TABLE more (n int)",
    "CREATE SCHEMA more",
    "CREATE FUNCTION more() RETURNS int LANGUAGE sql RETURN 1",
    "GRANT SELECT ON operator_session TO PUBLIC",
    "ANALYZE operator_schema",
    "TRUNCATE operator_session CASCADE",
    "ALTER DATABASE {name} SET lock_timeout = 1",
)


@pytest.fixture(scope="module")
def pool(postgres_server: PostgresServer) -> DatabasePool:
    return DatabasePool(postgres_server)


@pytest.fixture
def name(pool: DatabasePool) -> str:
    return pool.take()


def content(server: PostgresServer, name: str) -> dict[str, Any]:
    """All rows, and where the sequences stand."""
    tables = [table for (table,) in server.execute(TABLES, name)]
    rows: dict[str, Any] = {
        table: sorted(map(repr, server.execute(f"SELECT * FROM {table}", name))) for table in tables
    }
    return rows | {"sequences": sorted(server.execute(VALUES, name))}


def exists(server: PostgresServer, name: str) -> bool:
    return bool(server.execute(f"SELECT FROM pg_database WHERE datname = '{name}'"))


def test_a_database_whose_rows_have_changed_is_lent_again_with_its_first_rows(
    pool: DatabasePool, postgres_server: PostgresServer, name: str
) -> None:
    first = content(postgres_server, name)
    for change in (
        SESSION,
        MESSAGE,
        "UPDATE operator_schema SET serves_from = 'changed'",
        "DELETE FROM _yoyo_migration",
    ):
        postgres_server.execute(change, name)
    assert content(postgres_server, name) != first
    pool.give_back(name)
    assert pool.take() == name
    assert content(postgres_server, name) == first
    pool.give_back(name)
    assert pool.take() == name, "emptying it counted as a change"
    migrate(postgres_server.url(name))


@pytest.mark.parametrize("change", MORE_THAN_ROWS)
def test_a_database_of_which_more_than_rows_has_changed_is_dropped(
    pool: DatabasePool, postgres_server: PostgresServer, name: str, change: str
) -> None:
    postgres_server.execute(change.format(name=name), name)
    pool.give_back(name)
    assert not exists(postgres_server, name)
    assert pool.take() != name


def test_a_database_whose_tables_have_grown_is_dropped(
    pool: DatabasePool, postgres_server: PostgresServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres_server.execute(SESSION, name)
    monkeypatch.setattr(database_pool, "GROWN", 0)
    pool.give_back(name)
    assert not exists(postgres_server, name)


def test_connections_that_a_test_leaves_behind_are_ended_with_what_they_hold(
    pool: DatabasePool, postgres_server: PostgresServer, name: str
) -> None:
    with psycopg.connect(postgres_server.url(name)) as left:
        left.execute(SESSION)  # in a transaction that stays open
        pool.give_back(name)
        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")
    assert pool.take() == name
    assert content(postgres_server, name)["operator_session"] == []
