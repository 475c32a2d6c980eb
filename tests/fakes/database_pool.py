"""Migrated PostgreSQL databases, lent to one test after another."""

from __future__ import annotations

import psycopg

from operator_svc.db.migrations import migrate
from tests.fakes.postgres import PostgresServer

GROWN = 512 * 1024
"""Bytes of a table from which on a new database costs less than to delete and reuse its rows."""

_WRITES = """
    pg_stat_get_tuples_inserted(c.oid)
    + pg_stat_get_tuples_updated(c.oid)
    + pg_stat_get_tuples_deleted(c.oid)
"""
_END_OTHERS = """
    SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_CHANGED = f"""
    SELECT EXISTS (
        SELECT FROM pg_class AS c
        WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r'
            AND NOT c.relisshared AND {_WRITES} > 0
    ) OR EXISTS (
        SELECT FROM pg_db_role_setting AS s
        JOIN pg_database AS d ON s.setdatabase = d.oid
        WHERE d.datname = current_database()
    )
"""
_TABLES = f"""
    SELECT c.oid::regclass::text, {_WRITES} > 0, pg_relation_size(c.oid)
    FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
"""
_RESTART_SEQUENCES = """
    SELECT setval(seqrelid, seqstart, false) FROM pg_sequence
    WHERE pg_sequence_last_value(seqrelid) IS NOT NULL
"""


class DatabasePool:
    """Copies of one migrated database of ``server``.

    To copy one takes PostgreSQL twenty times the work of emptying it, so a database of which a
    test has changed rows alone has its first rows again, and is lent to the next test. PostgreSQL
    counts what is written into each table, its catalogs too: a database whose schema, statistics
    or settings have changed is dropped.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._free: list[str] = []
        self._template = server.create_database()
        migrate(server.url(self._template))
        with psycopg.connect(server.url(self._template)) as connection:
            assert not connection.execute(_RESTART_SEQUENCES).fetchall()
            self._rows = {
                table: _copy_of(connection, table)
                for table, _, size in connection.execute(_TABLES.encode()).fetchall()
                if size
            }

    def take(self) -> str:
        """The name of a migrated, empty database, the caller's alone until it is given back."""
        return self._free.pop() if self._free else self._server.create_database(self._template)

    def give_back(self, name: str) -> None:
        """End all connections to a database; the next test has it or another like it."""
        if self._as_new(name):
            self._free.append(name)
        else:
            self._server.drop_database(name)

    def _as_new(self, name: str) -> bool:
        with psycopg.connect(self._server.url(name), autocommit=True) as connection:
            connection.execute(_END_OTHERS)
            if connection.execute(_CHANGED.encode()).fetchone() != (False,):
                return False
            tables = connection.execute(_TABLES.encode()).fetchall()
            if any(size > GROWN for _, _, size in tables):
                return False
            with connection.transaction():
                # Without triggers, so in any order.
                connection.execute("SET LOCAL session_replication_role = replica")
                for table, written, _ in tables:
                    if written:
                        self._empty(connection, table)
                connection.execute(_RESTART_SEQUENCES)
            connection.execute("SELECT pg_stat_force_next_flush()")
            connection.execute("SELECT pg_stat_reset()")
        return True

    def _empty(self, connection: psycopg.Connection, table: str) -> None:
        connection.execute(f"DELETE FROM {table}".encode())
        if rows := self._rows.get(table):
            with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                copy.write(rows)


def _copy_of(connection: psycopg.Connection, table: str) -> bytes:
    with connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
        return b"".join(bytes(part) for part in copy)
