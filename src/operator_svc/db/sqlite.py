"""SQLite: one writer that groups what waits, and readers beside it.

All writes go through one connection and its thread. While a group is being committed, and in the
turns of the event loop after that, new writes queue; then all of them become the next group: one
BEGIN IMMEDIATE, those of a kind as one set, one COMMIT (so one fsync for all), and only then are
they answered. Where one of them fails, the group is run again, each write by itself in its
SAVEPOINT.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import aiosqlite
import msgspec

from operator_svc import tracing
from operator_svc.db.contract import Dialect, plan_of, unavailable
from operator_svc.db.history import KnownHistory
from operator_svc.db.lockfile import FileLock, lock_path, private_file
from operator_svc.db.pool import Pool
from operator_svc.db.queries import Query
from operator_svc.db.query_sets import gather
from operator_svc.db.records import reader, sqlite_params
from operator_svc.db.sqlite_connection import (
    SqliteTransaction,
    open_connection,
    raw_of,
    run_on_thread,
)
from operator_svc.db.sqlite_files import DatabaseFiles
from operator_svc.db.sqlite_groups import (
    Failure,
    applied_migrations,
    commit_group,
    deliver,
    serves_from,
    translated,
)
from operator_svc.db.sqlite_plans import QueryCall, SqlitePlan
from operator_svc.db.sqlite_sets import Write
from operator_svc.db.sqlite_units import SqliteConnection
from operator_svc.errors import ConfigurationError

R = TypeVar("R", bound=msgspec.Struct)
T = TypeVar("T")

GROUP = 256
"""Writes in one commit at most: bounds how long the first of them waits."""


class SqliteDatabase:
    """An open SQLite file; this process alone has it, as ``<file>.lock`` says."""

    def __init__(self, path: Path, queries: Mapping[str, Query], readers: int, seconds: float):
        self._path = path
        self._seconds = seconds
        self._plans = {query.name: SqlitePlan(query) for query in queries.values()}
        self._lock = FileLock(lock_path(path))
        self._history = KnownHistory()
        self._readers = Pool(lambda _: open_connection(path, read_only=True), _usable, readers)
        self._writer: aiosqlite.Connection | None = None
        self._files: DatabaseFiles | None = None
        self._writer_turn = asyncio.Lock()
        self._queue: deque[Write] = deque()
        self._grouping: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def dialect(self) -> Dialect:
        return "sqlite"

    @classmethod
    async def open(
        cls, path: Path, queries: Mapping[str, Query], *, readers: int, seconds: float
    ) -> SqliteDatabase:
        """Open or create the file; ``seconds`` bounds each read, in seconds.

        Raises ConfigurationError where another process has it or it cannot be used.
        """
        database = cls(path, queries, readers, seconds)
        database._lock.acquire()
        try:
            private_file(path)
            database._writer = await open_connection(path)
            await database.applied_migrations()  # a read of the file, which opens its log too
            database._files = DatabaseFiles(path)
        except (sqlite3.Error, OSError) as error:
            await database.aclose()
            raise ConfigurationError([f"{path} cannot be used as a database: {error}"]) from error
        except BaseException:
            await database.aclose()
            raise
        return database

    async def fetch(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        """See Database.fetch."""
        return await self._observed(query, record, params, lambda call: self._on_reader(call.run))

    async def fetch_one(self, query: str, record: type[R], /, **params: Any) -> R | None:
        """See Database.fetch_one."""
        rows = await self.fetch(query, record, **params)
        return rows[0] if rows else None

    async def _observed(
        self,
        query: str,
        record: type[R],
        params: dict[str, Any],
        submit: Callable[[QueryCall[R]], Awaitable[list[R]]],
    ) -> list[R]:
        plan = plan_of(self._plans, query, params)
        call = QueryCall(plan, reader(record, "sqlite"), sqlite_params(params))
        started = perf_counter()
        try:
            with tracing.span(plan.name, "client", db__system__name="sqlite"):
                return await submit(call)
        finally:
            plan.observe(perf_counter() - started)

    async def _on_reader(self, work: Callable[[SqliteConnection], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            connection = await self._readers.acquire(loop.time() + self._seconds)
        except sqlite3.Error as error:
            raise translated(error) from error
        raw = raw_of(connection)
        clock = loop.call_later(self._seconds, raw.interrupt)
        try:
            return await run_on_thread(connection, work, raw)
        except sqlite3.Error as error:
            raise translated(error) from error
        except asyncio.CancelledError:
            raw.interrupt()
            raise
        finally:
            clock.cancel()
            self._readers.release(connection)

    async def write(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        """See Database.write."""
        return await self._observed(
            query, record, params, lambda call: self._enqueue(call.run, call)
        )

    def _enqueue(
        self, run: Callable[[SqliteConnection], T], call: QueryCall[Any] | None = None
    ) -> asyncio.Future[T]:
        if self._writer is None:
            raise unavailable("the database is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.append(Write(run, future, call))
        if self._grouping is None:
            self._grouping = self._loop.create_task(self._write_groups(), name="sqlite:writer")
        return future

    async def _write_groups(self) -> None:
        try:
            while self._queue and self._writer is not None:
                async with self._writer_turn:
                    raw = raw_of(self._writer)
                    deliver(*await run_on_thread(self._writer, self._commit_group, raw))
                await gather()
        finally:
            self._grouping = None

    def _commit_group(self, raw: SqliteConnection) -> tuple[list[Write], list[Any]]:
        """Commit what waits, on the writer's thread; the writes, and what each is answered."""
        group = [self._queue.popleft() for _ in range(min(GROUP, len(self._queue)))]
        try:
            return group, commit_group(raw, group)
        except Exception as error:  # each of them must hear of it
            return group, [Failure(error)] * len(group)

    def reserve(self, connections: int, seconds: float) -> list[SqliteDatabase]:
        """See Database.reserve. One process has one writer, and reads wait for nobody."""
        return [self]

    @property
    def history(self) -> str:
        """See Database.history."""
        return self._history.value

    def on_new_history(self, callback: Callable[[], None]) -> None:
        """See Database.on_new_history."""
        self._history.on_change(callback)

    async def check_history(self) -> None:
        """See Database.check_history."""
        await self._history.keep(self)

    async def ping(self) -> None:
        """See Database.ping. The write is an ordinary one, so that it fails as others would."""
        files = self._files
        if files is None:
            raise unavailable("the database is closed")
        await self._on_reader(lambda _: files.check())
        await self._enqueue(_write_a_page)

    async def applied_migrations(self) -> frozenset[str]:
        """See Database.applied_migrations."""
        return await self._on_reader(applied_migrations)

    async def serves_from(self) -> str | None:
        """See Database.serves_from."""
        return await self._on_reader(serves_from)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteTransaction]:
        """See Database.transaction."""
        async with self._writer_turn:
            if self._writer is None:
                raise unavailable("the database is closed")
            transaction = SqliteTransaction(self._writer)
            raw = raw_of(self._writer)
            raw.begin_unit()
            try:
                await transaction.run("BEGIN IMMEDIATE")
                yield transaction
                await transaction.run("COMMIT")
            except BaseException:  # a COMMIT that fails, or a full disk, may leave one open or not
                await asyncio.shield(run_on_thread(self._writer, raw.rollback))
                raise

    async def aclose(self) -> None:
        """See Database.aclose."""
        if self._grouping is not None:
            await asyncio.wait([self._grouping])
        writer, self._writer, self._files = self._writer, None, None
        for connection in await self._readers.drain(self._seconds):
            await connection.close()
        if writer is not None:
            await writer.close()
        self._lock.release()


def _write_a_page(raw: SqliteConnection) -> None:
    """Write the first page as it is: it has a number that SQLite keeps for applications."""
    (number,) = raw.execute("PRAGMA user_version").fetchone()
    raw.execute(f"PRAGMA user_version = {number:d}")


def _usable(connection: aiosqlite.Connection) -> bool:
    return connection._connection is not None
