"""PostgreSQL over asyncpg: a pool, one prepared statement for each named query, and LISTEN."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import asyncpg  # type: ignore[import-untyped]
import msgspec
import structlog

from operator_svc import tracing
from operator_svc.db.contract import Dialect, Nothing, check_params
from operator_svc.db.postgresql_connections import Connections
from operator_svc.db.postgresql_pooler import Address, needs_transactions
from operator_svc.db.postgresql_transaction import PostgresqlTransaction
from operator_svc.db.queries import Query
from operator_svc.db.records import Reader, reader
from operator_svc.telemetry import query_observer

R = TypeVar("R", bound=msgspec.Struct)
log = structlog.get_logger(__name__)


class _Plan(NamedTuple):
    name: str
    params: frozenset[str]
    sql: str
    order: tuple[str, ...]
    observe: Callable[[float], None]


class PostgresqlDatabase:
    """A pool of connections to one PostgreSQL database. It recovers by itself."""

    def __init__(
        self, address: Address, queries: Mapping[str, Query], size: int, seconds: float
    ) -> None:
        self._address = address
        self._queries = queries
        self._connections = Connections(address, size, seconds)
        self._seconds = seconds
        self._reserved: list[PostgresqlDatabase] = []
        self._plans = {
            q.name: _Plan(q.name, q.params, *q.statements[0][:2], query_observer(q.name))
            for q in queries.values()
        }
        self._writes: set[asyncio.Task[list[Any]]] = set()
        self._checked: set[tuple[str, type]] = set()

    @property
    def dialect(self) -> Dialect:
        return "postgresql"

    @classmethod
    async def open(
        cls,
        dsn: str,
        queries: Mapping[str, Query],
        *,
        size: int,
        seconds: float,
        direct: str = "",
    ) -> PostgresqlDatabase:
        """Open the pool; ``seconds`` bounds each call, the wait for a connection included.

        ``direct`` is another address of the database, for what needs a session, if there is one.
        Raises what ``needs_transactions`` raises.
        """
        pooled = await needs_transactions(dsn, seconds, direct=bool(direct))
        return cls(Address(dsn, direct or dsn, pooled), queries, size, seconds)

    @property
    def history(self) -> str:
        """See Database.history."""
        return self._connections.history.value

    def on_new_history(self, callback: Callable[[], None]) -> None:
        """See Database.on_new_history."""
        self._connections.history.on_change(callback)

    async def check_history(self) -> None:
        """See Database.check_history."""
        await self._connections.check_server()
        await self._connections.history.keep(self)

    def reserve(self, connections: int, seconds: float) -> PostgresqlDatabase:
        """See Database.reserve."""
        address = self._address.of_sessions
        reserved = PostgresqlDatabase(address, self._queries, connections, seconds)
        self._reserved.append(reserved)
        return reserved

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
                rows = await self._connections.run(
                    plan.sql, [params[name] for name in plan.order], repeatable=True
                )
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
        work = self._connections.run(
            plan.sql, [params[name] for name in plan.order], repeatable=False
        )
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

    async def ping(self) -> None:
        """See Database.ping."""
        await self._connections.ping()

    async def applied_migrations(self) -> frozenset[str]:
        """See Database.applied_migrations."""
        return frozenset(await self._column("SELECT migration_id FROM _yoyo_migration"))

    async def serves_from(self) -> str | None:
        """See Database.serves_from."""
        return next(iter(await self._column("SELECT serves_from FROM operator_schema")), None)

    async def _column(self, sql: str) -> list[str]:
        """The only column of a table; empty where there is no such table yet."""
        try:
            return [row[0] for row in await self._connections.run(sql, [], repeatable=True)]
        except asyncpg.UndefinedTableError:
            return []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresqlTransaction]:
        """See Database.transaction."""
        async with self._connections.transaction() as connection:
            yield PostgresqlTransaction(connection, self._seconds)

    async def aclose(self) -> None:
        """See Database.aclose."""
        for reserved in self._reserved:
            await reserved.aclose()
        if self._writes:
            await asyncio.wait(self._writes, timeout=self._seconds)
        await self._connections.aclose()


def _note_abandoned(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a write failed after its caller had gone", query=task.get_name(), error=error)
