"""The part of migrating that needs yoyo and psycopg; only a process that migrates imports it."""

from __future__ import annotations

import datetime as dt
import os
import pwd
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from yoyo import read_migrations  # type: ignore[import-untyped]
from yoyo.backends.core.postgresql import (  # type: ignore[import-untyped]
    PostgresqlPsycopgBackend,
)
from yoyo.backends.core.sqlite3 import SQLiteBackend  # type: ignore[import-untyped]
from yoyo.connections import DatabaseURI  # type: ignore[import-untyped]
from yoyo.migrations import default_migration_table  # type: ignore[import-untyped]

from operator_svc.db.contract import unavailable
from operator_svc.db.locations import Location
from operator_svc.db.lockfile import FileLock, check_usable, lock_path, private_file
from operator_svc.db.migration_files import SERVES_FROM_SINCE, pending
from operator_svc.db.sqlite_groups import translated
from operator_svc.errors import ConfigurationError, OperatorError

ADVISORY_KEY = 0x0F_0E_7A_70
"""Key of the advisory lock; any number that nobody else in the database uses."""

LOCK_SECONDS = 120.0
"""Seconds to wait for another process that is migrating, and for the locks of tables in use."""

FILE_LOCK_SECONDS = 15.0
"""Seconds to wait for SQLite's file: a server that holds it does not give it back."""

WAIT_SECONDS = 0.5
"""Seconds that a migration waits for a table's lock: all who want the table after it wait too."""
PAUSE_SECONDS = 0.5
"""Seconds that they have the table to themselves before it is tried again, for LOCK_SECONDS."""

Direction: TypeAlias = Literal["apply", "rollback"]

_CONNECT_SECONDS = 10
_TRY_SECONDS = 0.1
_UNDONE = ("55P03", "40P01", "40001")
"""SQLSTATEs of a migration that the server undid because of others: a lock that they keep, a
deadlock, a serialisation failure. It is tried again."""
_PASSING = ("25006", "53", "57", "58")
"""Beginnings of SQLSTATEs that say something of the server, and pass: it takes no writes, as a
standby, or lacks room, stops, or cannot read its files."""

_SESSION = """
    SELECT set_config(s.name, w.value, FALSE)
    FROM (
        VALUES
        -- Else the session of a process that was killed goes on with its statement, and its lock.
        ('client_connection_check_interval', '1000'),
        -- Limits of chats, which a role or a database may have: an index takes as long as it takes.
        ('statement_timeout', '0'), ('transaction_timeout', '0'), ('lock_timeout', '0'),
        ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
        -- What the text of a migration means.
        ('default_transaction_isolation', 'read committed'), ('DateStyle', 'ISO'),
        ('standard_conforming_strings', 'on')
    ) AS w (name, value)
    INNER JOIN pg_settings AS s ON s.name = w.name
"""
"""Settings of the sessions that migrate, whatever those of the role and the database are; an older
server lacks some."""


def migrate(location: Location, folder: Path) -> list[str]:
    """See migrations.migrate."""
    with _locked_backend(location) as backend:
        migrations = read_migrations(str(folder / location.dialect))
        applied = _applied(backend)
        pending(applied, location.dialect, folder, _serves_from(backend, applied))
        todo = list(backend.to_apply(migrations))
        for migration in todo:
            _attempt(backend, migration, "apply")
        return [migration.id for migration in todo]


def rollback(location: Location, folder: Path, count: int) -> list[str]:
    """See migrations.rollback."""
    with _locked_backend(location) as backend:
        migrations = read_migrations(str(folder / location.dialect))
        pending(_applied(backend), location.dialect, folder)
        todo = list(backend.to_rollback(migrations))[:count]
        for migration in todo:
            _attempt(backend, migration, "rollback")
        return [migration.id for migration in todo]


def _run(backend: Any, migration: Any, direction: Direction) -> None:
    migration.load()
    applies = direction == "apply"
    if not migration.use_transactions:
        # CREATE INDEX CONCURRENTLY and its like: must be written so that they can run again.
        (backend.apply_one if applies else backend.rollback_one)(migration)
        return
    with backend.transaction():
        if isinstance(backend, _PostgresqlBackend):
            # It waits for no lock so long that those who want it after it would notice.
            backend.execute(f"SET LOCAL lock_timeout = {int(WAIT_SECONDS * 1000)}")
        for step in migration.steps if applies else reversed(migration.steps):
            getattr(step, direction)(backend)
        backend.log_migration(migration, direction)
        (backend.mark_one if applies else backend.unmark_one)(migration, log=False)


def _attempt(backend: Any, migration: Any, direction: Direction) -> None:
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            _run(backend, migration, direction)
        except Exception as error:
            if getattr(error, "sqlstate", None) not in _UNDONE:
                raise _explained(error, backend, f"the migration {migration.id} failed") from error
            if time.monotonic() > until:
                busy = f"the migration {migration.id} waits for a lock that others keep: {error}"
                raise unavailable(busy) from error
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _explained(error: Exception, backend: Any, failure: str) -> Exception:
    """``error`` as OperatorError where trying again may help, else as ConfigurationError."""
    known = translated(error)  # SQLite's
    if isinstance(known, OperatorError):
        return known
    if getattr(backend.connection, "closed", False):  # psycopg's
        return unavailable(f"the connection to PostgreSQL was lost: {error}")
    if (getattr(error, "sqlstate", None) or "").startswith(_PASSING):
        return unavailable(f"{failure}: {error}")
    return ConfigurationError([f"{failure}: {error}"])


def _serves_from(backend: Any, applied: list[str]) -> str | None:
    if SERVES_FROM_SINCE not in applied:
        return None
    rows = backend.execute("SELECT serves_from FROM operator_schema").fetchall()
    return str(rows[0][0]) if rows else None


def _applied(backend: Any) -> list[str]:
    backend.ensure_internal_schema_updated()
    return [row[0] for row in backend.execute("SELECT migration_id FROM _yoyo_migration")]


@contextmanager
def _locked_backend(location: Location) -> Iterator[Any]:
    """yoyo's backend, in a session that alone may migrate for as long as it lives."""
    opened = _postgresql if location.dialect == "postgresql" else _sqlite
    with opened(location) as backend, backend:
        try:
            backend.get_log_data = _log_data
            _make_lock_table(backend)
            backend.break_lock()
            with backend.lock():
                yield backend
        except backend.DatabaseError as error:
            raise _explained(error, backend, "the database cannot be migrated") from error


def _make_lock_table(backend: Any) -> None:
    """Make yoyo's table of locks. yoyo takes any failure to do so for a table that is there."""
    if backend.lock_table not in backend.list_tables():
        with backend.transaction():
            backend.execute(backend.format_sql(backend.create_lock_table_sql))
    backend.has_transactional_ddl = True


class _PostgresqlBackend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo's backend. Each of its connections has the settings of ``_SESSION``: a migration outside
    a transaction has a connection of its own."""

    def init_connection(self, connection: Any) -> None:
        """Make the settings of a connection that was opened or rolled back."""
        super().init_connection(connection)
        connection.execute(_SESSION)


@contextmanager
def _postgresql(location: Location) -> Iterator[Any]:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        target = conninfo_to_dict(location.dsn)
    except psycopg.Error as error:
        raise ConfigurationError([f"PostgreSQL: {error}"]) from error
    target.setdefault("connect_timeout", _CONNECT_SECONDS)
    target.setdefault("application_name", "operator-svc migrate")
    # As a server's own connections: the one of several hosts that takes writes.
    target |= {"target_session_attrs": "read-write", "client_encoding": "utf8"}
    # yoyo's own reading of a URL knows neither several hosts nor all of libpq's parameters.
    uri = DatabaseURI("postgresql+psycopg", None, None, None, None, target.get("dbname"), target)
    try:
        backend = _PostgresqlBackend(uri, default_migration_table)
    except psycopg.OperationalError as error:
        raise unavailable(f"PostgreSQL cannot be reached: {error}") from error
    try:
        _lock(backend)
    except psycopg.OperationalError as error:
        backend.connection.close()
        raise unavailable(f"the connection to PostgreSQL was lost: {error}") from error
    except OperatorError:
        backend.connection.close()
        raise
    yield backend


def _lock(backend: Any) -> None:
    """Take the lock of those who migrate. Nothing waits in a statement: an index that is made
    CONCURRENTLY by whoever has the lock would wait for that statement in turn."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        ((locked,),) = backend.execute(f"SELECT pg_try_advisory_lock({ADVISORY_KEY})").fetchall()
        backend.commit()
        if locked:
            return
        if time.monotonic() > until:
            raise unavailable("another process is migrating this database")
        time.sleep(_TRY_SECONDS)


class _QuietCursor(sqlite3.Cursor):
    """A cursor that tells of no columns: yoyo prints the rows of each statement that has some, and
    SQLite's ALTER TABLE has some where it checks those that are there."""

    description = None


class _SqliteBackend(SQLiteBackend):  # type: ignore[misc]  # yoyo has no types
    """yoyo's backend, which prints nothing."""

    def cursor(self) -> sqlite3.Cursor:
        """A new cursor."""
        cursor: sqlite3.Cursor = self.connection.cursor(_QuietCursor)
        return cursor


@contextmanager
def _sqlite(location: Location) -> Iterator[Any]:
    check_usable(location.path)
    lock = FileLock(lock_path(location.path))
    lock.acquire(FILE_LOCK_SECONDS)
    try:
        private_file(location.path)
        uri = DatabaseURI("sqlite", None, None, None, None, quote(str(location.path)), {})
        yield _SqliteBackend(uri, default_migration_table)
    finally:
        lock.release()


def _log_data(migration: Any, operation: str) -> dict[str, Any]:
    """yoyo's own asks the DNS for this host's name, and fails for a user without a name."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return {
        "id": str(uuid.uuid1()),
        "migration_id": migration.id,
        "migration_hash": migration.hash,
        "username": user,
        "hostname": socket.gethostname(),
        "created_at_utc": dt.datetime.now(dt.UTC).replace(tzinfo=None),
        "operation": operation,
    }
