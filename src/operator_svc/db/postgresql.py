"""PostgreSQL over asyncpg: a pool, one prepared statement for each named query, and LISTEN."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it has no types
import msgspec
import structlog

from operator_svc.db.contract import Dialect
from operator_svc.db.history import KnownHistory
from operator_svc.db.postgresql_connections import Connections
from operator_svc.db.postgresql_plans import Plan, Plans
from operator_svc.db.postgresql_pooler import Address, needs_transactions
from operator_svc.db.postgresql_sets import Sets
from operator_svc.db.postgresql_transaction import PostgresqlTransaction
from operator_svc.db.queries import Query

R = TypeVar("R", bound=msgspec.Struct)
T = TypeVar("T")
log = structlog.get_logger(__name__)

_POSITION = "SELECT pg_current_wal_flush_lsn()::text"


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
        self.plans = Plans(queries)
        self._writes: set[asyncio.Task[Any]] = set()
        self._sets = Sets(self._run_write, self._own)

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
        Raises what ``needs_transactions`` raises for either.
        """
        if direct:
            await needs_transactions(direct, seconds, direct=False)
        pooled = await needs_transactions(dsn, seconds, direct=bool(direct))
        return cls(Address(dsn, direct or dsn, pooled), queries, size, seconds)

    @property
    def history(self) -> str:
        """See Database.history."""
        return self.known_history.value

    @property
    def known_history(self) -> KnownHistory:
        """The history, as its connections keep it."""
        return self._connections.history

    def on_new_history(self, callback: Callable[[], None]) -> None:
        """See Database.on_new_history."""
        self.known_history.on_change(callback)

    async def check_history(self) -> None:
        """See Database.check_history."""
        await self._connections.check_server()
        await self.known_history.keep(self)

    async def position(self) -> str:
        """The place in the server's log up to which it has committed; whoever has replayed it
        has all that anybody was shown. Raises OperatorError(DATABASE_UNAVAILABLE)."""
        rows = await self._connections.run(_POSITION, [], repeatable=True)
        return str(rows[0][0])

    def reserve(self, connections: int, seconds: float) -> list[PostgresqlDatabase]:
        """See Database.reserve."""
        ways = (self._address.of_sessions, self._address)
        reserved = [PostgresqlDatabase(way, self._queries, connections, seconds) for way in ways]
        self._reserved += reserved
        return reserved

    async def fetch(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        """See Database.fetch."""
        return await self.plans.fetch(self._read, query, record, params)

    async def _read(self, plan: Plan, args: list[Any]) -> list[Any]:
        return await self._connections.run(plan.sql, args, repeatable=True)

    async def fetch_one(self, query: str, record: type[R], /, **params: Any) -> R | None:
        """See Database.fetch_one."""
        rows = await self.fetch(query, record, **params)
        return rows[0] if rows else None

    async def write(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        """See Database.write."""
        return await self.plans.fetch(self._write, query, record, params)

    async def _write(self, plan: Plan, args: list[Any]) -> list[Any]:
        """Run a statement to its end, whether the caller waits for it or not."""
        if plan.items is not None:
            return await self._sets.write(plan, plan.items, args)
        task = self._own(self._run_write(plan.sql, args), plan.name)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_note_abandoned)
            raise

    async def _run_write(self, sql: str, args: list[Any]) -> list[Any]:
        return await self._connections.run(sql, args, repeatable=False)

    def _own(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return task

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
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        while self._writes and (left := deadline - loop.time()) > 0:  # a write may begin others
            await asyncio.wait(self._writes, timeout=left)
        await self._connections.aclose()


def _note_abandoned(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a write failed after its caller had gone", query=task.get_name(), error=error)
