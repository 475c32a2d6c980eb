"""Connections to SQLite: how they are opened, and how work reaches their threads."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from operator_svc.db.queries import compile_statement
from operator_svc.db.records import sqlite_params
from operator_svc.db.sqlite_groups import translated
from operator_svc.db.sqlite_units import SqliteConnection

T = TypeVar("T")

BUSY_SECONDS = 5.0
"""Seconds to wait for a lock of another process, such as a backup."""

_STATEMENTS = 512
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # KiB for each connection: what is not in it is in the system's cache of the file.
    "PRAGMA cache_size = -4096",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA journal_size_limit = 67108864",
    # Pages, 32 MiB: half of the limit above. Each folding back waits for the disk, and a page
    # that was written often is then written once.
    "PRAGMA wal_autocheckpoint = 8000",
)


async def open_connection(path: Path, *, read_only: bool = False) -> aiosqlite.Connection:
    """A connection with its thread, set up for durable writes or for reads alone.

    Raises sqlite3.Error. Cancelling waits until it is open and closed again: its thread would
    outlive the loop that it answers to.
    """
    opening = asyncio.ensure_future(_open(path, read_only))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with contextlib.suppress(sqlite3.Error):
            await (await opening).close()
        raise


async def _open(path: Path, read_only: bool) -> aiosqlite.Connection:
    connection = aiosqlite.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        cached_statements=_STATEMENTS,
        factory=SqliteConnection,
    )
    # A process that has to end at once does not close its connections, and must not wait for
    # their threads for ever. What they have not committed was not acknowledged.
    connection._thread.daemon = True
    await connection
    try:
        await run_on_thread(connection, _prepare, raw_of(connection), read_only)
    except BaseException:
        await connection.close()
        raise
    return connection


async def run_on_thread(connection: aiosqlite.Connection, work: Callable[..., T], *args: Any) -> T:
    """Run ``work`` on the connection's thread, in one hop."""
    # aiosqlite has no public way to do this; a test holds this line to what its version does.
    result: T = await connection._execute(work, *args)  # type: ignore[no-untyped-call]
    return result


def raw_of(connection: aiosqlite.Connection) -> SqliteConnection:
    """The driver's connection; it may be used on its thread only, ``interrupt`` excepted."""
    raw = connection._conn
    assert isinstance(raw, SqliteConnection)
    return raw


def _prepare(raw: SqliteConnection, read_only: bool) -> None:
    raw.add_functions()
    for pragma in _PRAGMAS:
        raw.execute(pragma)
    if read_only:
        raw.execute("PRAGMA query_only = ON")


class SqliteTransaction:
    """See Transaction."""

    def __init__(self, writer: aiosqlite.Connection) -> None:
        self._writer = writer

    async def run(self, sql: str, params: Mapping[str, Any] | None = None) -> sqlite3.Cursor:
        """Run one statement that is ready for SQLite."""
        try:
            return await run_on_thread(self._writer, self._writer._conn.execute, sql, params or {})
        except sqlite3.Error as error:
            raise translated(error) from error

    async def execute(self, sql: str, /, **params: Any) -> int:
        """See Transaction.execute."""
        cursor = await self.run(compile_statement(sql, "sqlite").sql, sqlite_params(params))
        return cursor.rowcount

    async def executemany(self, sql: str, rows: Iterable[Mapping[str, Any]], /) -> None:
        """See Transaction.executemany."""
        bound = [sqlite_params(dict(row)) for row in rows]
        text = compile_statement(sql, "sqlite").sql
        try:
            await run_on_thread(self._writer, self._writer._conn.executemany, text, bound)
        except sqlite3.Error as error:
            raise translated(error) from error

    async def fetch(self, sql: str, /, **params: Any) -> list[tuple[Any, ...]]:
        """See Transaction.fetch."""
        cursor = await self.run(compile_statement(sql, "sqlite").sql, sqlite_params(params))
        return await run_on_thread(self._writer, cursor.fetchall)
