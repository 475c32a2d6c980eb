"""PostgreSQL over asyncpg: a pool, one prepared statement for each named query, and LISTEN."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import asyncpg  # type: ignore[import-untyped]
import msgspec
import structlog

from operator_svc import tracing
from operator_svc.background import TaskOwner
from operator_svc.db.contract import Dialect, Nothing, check_params
from operator_svc.db.pool import Pool
from operator_svc.db.postgresql_errors import REFUSED, is_lost, translated
from operator_svc.db.queries import Query, compile_statement
from operator_svc.db.records import Reader, json_text, json_value, reader
from operator_svc.errors import ConfigurationError
from operator_svc.telemetry import query_observer

R = TypeVar("R", bound=msgspec.Struct)
log = structlog.get_logger(__name__)

_STATEMENTS = 1024
_CLOSE_SECONDS = 2.0
_APPLICATION = "operator-svc"


class _Plan(NamedTuple):
    name: str
    params: frozenset[str]
    sql: str
    order: tuple[str, ...]
    observe: Callable[[float], None]


async def open_connection(dsn: str, seconds: float) -> asyncpg.Connection:
    """A connection that gives JSON as Python values and uuids as text.

    Raises what asyncpg raises. Nothing is set on the session, so a pool need not reset it.
    """
    async with asyncio.timeout(seconds):
        connection = await asyncpg.connect(
            dsn,
            timeout=seconds,
            statement_cache_size=_STATEMENTS,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": _APPLICATION},
        )
        try:
            for kind in ("json", "jsonb"):
                await connection.set_type_codec(
                    kind, schema="pg_catalog", encoder=json_text, decoder=json_value
                )
            await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str)
        except BaseException:
            connection.terminate()
            raise
    return connection


class PostgresqlDatabase:
    """A pool of connections to one PostgreSQL database. It recovers by itself."""

    def __init__(self, dsn: str, queries: Mapping[str, Query], size: int, seconds: float):
        self._dsn = dsn
        self._seconds = seconds
        self._plans = {
            q.name: _Plan(q.name, q.params, *q.statements[0][:2], query_observer(q.name))
            for q in queries.values()
        }
        self._pool: Pool[asyncpg.Connection] = Pool(self._connect, _usable, size)
        self._retiring = TaskOwner("postgresql")
        self._writes: set[asyncio.Task[list[Any]]] = set()
        self._checked: set[tuple[str, type]] = set()

    @property
    def dialect(self) -> Dialect:
        return "postgresql"

    @classmethod
    async def open(
        cls, dsn: str, queries: Mapping[str, Query], *, size: int, seconds: float
    ) -> PostgresqlDatabase:
        """Open the pool; ``seconds`` bounds each call, the wait for a connection included.

        Raises ConfigurationError where the server refuses the user or the database, and
        OperatorError(DATABASE_UNAVAILABLE) where it does not answer.
        """
        database = cls(dsn, queries, size, seconds)
        try:
            await database.ping()
        except BaseException as error:
            await database.aclose()
            if isinstance(error.__cause__, (*REFUSED, ValueError)):
                raise ConfigurationError([f"PostgreSQL: {error.__cause__}"]) from error
            raise
        return database

    async def _connect(self, deadline: float) -> asyncpg.Connection:
        left = deadline - asyncio.get_running_loop().time()
        try:
            return await open_connection(self._dsn, max(left, 0.001))
        except Exception as error:
            raise translated(error, closed=True) from error

    def _plan(self, query: str, params: Mapping[str, Any]) -> _Plan:
        plan = self._plans.get(query)
        if plan is None:
            raise LookupError(f"there is no query {query}")
        if params.keys() != plan.params:
            check_params(query, plan.params, params)
        return plan

    async def fetch(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        """See Database.fetch."""
        plan = self._plan(query, params)
        started = perf_counter()
        try:
            with tracing.span(plan.name, "client", db__system__name="postgresql"):
                rows = await self._run(plan.sql, [params[name] for name in plan.order], retry=True)
            return self._records(plan, record, rows)
        finally:
            plan.observe(perf_counter() - started)

    async def fetch_one(self, query: str, record: type[R], /, **params: Any) -> R | None:
        """See Database.fetch_one."""
        rows = await self.fetch(query, record, **params)
        return rows[0] if rows else None

    async def write(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        """See Database.write."""
        plan = self._plan(query, params)
        started = perf_counter()
        work = self._run(plan.sql, [params[name] for name in plan.order], retry=False)
        task = asyncio.get_running_loop().create_task(work, name=plan.name)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        try:
            with tracing.span(plan.name, "client", db__system__name="postgresql"):
                rows = await asyncio.shield(task)
            return self._records(plan, record, rows)
        except asyncio.CancelledError:
            task.add_done_callback(_note_abandoned)
            raise
        finally:
            plan.observe(perf_counter() - started)

    def _records(self, plan: _Plan, record: type[R], rows: list[Any]) -> list[R]:
        if not rows or record is Nothing:
            return []
        read: Reader[R] = reader(record, "postgresql")
        if (plan.name, record) not in self._checked:
            read.check(plan.name, tuple(rows[0].keys()), rows[0])
            self._checked.add((plan.name, record))
        return read.read(rows)

    async def _run(self, sql: str, args: list[Any], *, retry: bool) -> list[Any]:
        deadline = asyncio.get_running_loop().time() + self._seconds
        while True:
            connection = await self._pool.acquire(deadline)
            left = deadline - asyncio.get_running_loop().time()
            try:
                rows: list[Any] = await connection.fetch(sql, *args, timeout=max(left, 0.001))
            except BaseException as error:
                lost = self._after_failure(connection, error)
                if not isinstance(error, Exception):
                    raise
                if lost and retry:
                    retry = False
                    continue
                raise translated(error, closed=lost) from error
            self._pool.release(connection)
            return rows

    def _after_failure(self, connection: asyncpg.Connection, error: BaseException) -> bool:
        """Give the connection back, or away; whether it was lost."""
        closed = connection.is_closed()
        lost = is_lost(error, closed)
        if lost or closed:
            connection.terminate()
            self._pool.discard()
            for idle in self._pool.take_idle():
                idle.terminate()
        elif isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
            self._pool.release(connection)
        else:
            # A timeout or a cancellation: the server may still be at it.
            self._pool.discard()
            self._retiring.start(_retire(connection), "retire")
        return lost

    async def ping(self) -> None:
        """See Database.ping."""
        await self._run("SELECT 1", [], retry=True)

    async def applied_migrations(self) -> frozenset[str]:
        """See Database.applied_migrations."""
        try:
            rows = await self._run("SELECT migration_id FROM _yoyo_migration", [], retry=True)
        except asyncpg.UndefinedTableError:
            return frozenset()
        return frozenset(row[0] for row in rows)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresqlTransaction]:
        """See Database.transaction."""
        connection = await self._pool.acquire(asyncio.get_running_loop().time() + self._seconds)
        try:
            async with connection.transaction():
                yield PostgresqlTransaction(connection, self._seconds)
        except BaseException as error:
            if connection.is_closed() or connection.is_in_transaction():
                lost = self._after_failure(connection, error)
            else:
                # It was rolled back: whatever went wrong in the block, the connection is whole.
                lost = False
                self._pool.release(connection)
            if isinstance(error, Exception):
                raise translated(error, closed=lost) from error
            raise
        self._pool.release(connection)

    async def aclose(self) -> None:
        """See Database.aclose."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=self._seconds)
        idle = await self._pool.drain(self._seconds)
        await asyncio.gather(*[_retire(connection) for connection in idle])
        await self._retiring.aclose()


class PostgresqlTransaction:
    """See Transaction."""

    def __init__(self, connection: asyncpg.Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds

    async def execute(self, sql: str, /, **params: Any) -> int:
        """See Transaction.execute."""
        statement = compile_statement(sql, "postgresql")
        args = [params[name] for name in statement.params]
        tag = await self._connection.execute(statement.sql, *args, timeout=self._seconds)
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def executemany(self, sql: str, rows: Iterable[Mapping[str, Any]], /) -> None:
        """See Transaction.executemany."""
        statement = compile_statement(sql, "postgresql")
        args = [[row[name] for name in statement.params] for row in rows]
        await self._connection.executemany(statement.sql, args, timeout=self._seconds)

    async def fetch(self, sql: str, /, **params: Any) -> list[tuple[Any, ...]]:
        """See Transaction.fetch."""
        statement = compile_statement(sql, "postgresql")
        args = [params[name] for name in statement.params]
        rows = await self._connection.fetch(statement.sql, *args, timeout=self._seconds)
        return [tuple(row) for row in rows]


def _note_abandoned(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a write failed after its caller had gone", query=task.get_name(), error=error)


def _usable(connection: asyncpg.Connection) -> bool:
    return not connection.is_closed()


async def _retire(connection: asyncpg.Connection) -> None:
    """Close a connection politely, else cut it."""
    try:
        await connection.close(timeout=_CLOSE_SECONDS)
    except Exception as error:  # whatever it was, the connection is gone
        log.debug("a connection was cut", error=repr(error))
        connection.terminate()
