"""PostgreSQL over asyncpg: a pool, one prepared statement for each named query, and LISTEN."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
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
from operator_svc.db.postgresql_connect import READ_ONLY, Connector, retire
from operator_svc.db.postgresql_errors import UNDONE, is_lost, refused, translated
from operator_svc.db.postgresql_pooler import (
    Address,
    Fetch,
    needs_transactions,
)
from operator_svc.db.postgresql_transaction import PostgresqlTransaction
from operator_svc.db.queries import Query
from operator_svc.db.records import Reader, reader
from operator_svc.telemetry import query_observer

R = TypeVar("R", bound=msgspec.Struct)
log = structlog.get_logger(__name__)

_PROOF_SECONDS = 1.0
_APPLICATION = "operator-svc"

ATTEMPTS = 8
"""Attempts of a statement that the server undoes for a reason that passes: deadlocks,
serialisation failures, a connection that leads to a standby."""
RETRY_PAUSE = 0.01
"""Longest pause, in seconds, before the first retry; each further one may take this much longer."""


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
        self._connector = Connector(address.dsn, _APPLICATION, pooled=address.pooled)
        self._fetch: Fetch = address.fetch
        self._seconds = seconds
        self._reserved: list[PostgresqlDatabase] = []
        self._plans = {
            q.name: _Plan(q.name, q.params, *q.statements[0][:2], query_observer(q.name))
            for q in queries.values()
        }
        self._pool: Pool[asyncpg.Connection] = Pool(
            self._connect, lambda one: not one.is_closed(), size, self._prove
        )
        self._retiring = TaskOwner("postgresql")
        self._writes: set[asyncio.Task[list[Any]]] = set()
        self._checked: set[tuple[str, type]] = set()
        self._reachable = True

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

    def reserve(self, connections: int, seconds: float) -> PostgresqlDatabase:
        """See Database.reserve."""
        address = self._address.of_sessions
        reserved = PostgresqlDatabase(address, self._queries, connections, seconds)
        self._reserved.append(reserved)
        return reserved

    async def _connect(self, deadline: float) -> asyncpg.Connection:
        try:
            connection = await self._connector.open(_until(deadline))
        except Exception as error:
            self._note_reachable(error)
            raise refused(error) from error
        self._note_reachable(None)
        return connection

    def _note_reachable(self, error: Exception | None) -> None:
        """Log that the database went away, and that it is back, once each."""
        if error is not None and self._reachable:
            log.warning("the database cannot be reached", error=repr(error))
        elif error is None and not self._reachable:
            log.info("the database is reached again")
        self._reachable = error is None

    async def _prove(self, connection: asyncpg.Connection, deadline: float) -> bool:
        """True where a connection answers and takes writes. Where one does not, it is closed, and
        the free ones with it: they most likely lead to the same server."""
        seconds = min(_until(deadline), _PROOF_SECONDS)
        try:
            rows = await self._fetch(connection, READ_ONLY, (), seconds)
            if rows[0][0] == "off":
                return True
        except Exception as error:  # any failure disproves it
            log.debug("a connection failed its proof", error=repr(error))
        except BaseException:
            connection.terminate()
            raise
        for one in (connection, *self._pool.take_idle()):
            one.terminate()
        return False

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
                rows = await self._run(
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
        work = self._run(plan.sql, [params[name] for name in plan.order], repeatable=False)
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

    async def _run(self, sql: str, args: list[Any], *, repeatable: bool) -> list[Any]:
        """The rows of a statement. One that the server undid is tried again; one whose answer
        was lost with its connection once more, if it is ``repeatable``."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        attempt = 0
        while True:
            connection = await self._pool.acquire(deadline)
            try:
                rows = await self._fetch(connection, sql, args, _until(deadline))
            except BaseException as error:
                lost = self._after_failure(connection, error)
                if not isinstance(error, Exception):
                    raise
                attempt += 1
                undone = isinstance(error, UNDONE) and attempt < ATTEMPTS
                if not undone and not (lost and repeatable and attempt == 1):
                    raise translated(error, closed=lost) from error
                if not lost:
                    longest = RETRY_PAUSE * attempt
                    await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - no secret
                continue
            self._pool.release(connection)
            return rows

    def _after_failure(self, connection: asyncpg.Connection, error: BaseException) -> bool:
        """Give the connection back, or away; whether it was lost."""
        closed = connection.is_closed()
        lost = is_lost(error, closed)
        if lost or closed:
            connection.terminate()
            self._pool.discard()
            self._pool.doubt()
        elif isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
            self._pool.release(connection)
        else:
            # A timeout or a cancellation: the server may still be at it, or it vanished.
            self._pool.discard()
            self._pool.doubt()
            self._retiring.start(retire(connection), "retire")
        return lost

    async def ping(self) -> None:
        """See Database.ping."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        connection = await self._pool.acquire(deadline)
        try:
            if await self._prove(connection, deadline):
                self._pool.release(connection)
                return
        except BaseException:
            self._pool.discard()
            raise
        self._pool.discard()
        # Opening one asks what the proof asks: another server may have taken over meanwhile.
        self._pool.release(await self._pool.acquire(deadline))

    async def applied_migrations(self) -> frozenset[str]:
        """See Database.applied_migrations."""
        return frozenset(await self._column("SELECT migration_id FROM _yoyo_migration"))

    async def serves_from(self) -> str | None:
        """See Database.serves_from."""
        return next(iter(await self._column("SELECT serves_from FROM operator_schema")), None)

    async def _column(self, sql: str) -> list[str]:
        """The only column of a table; empty where there is no such table yet."""
        try:
            return [row[0] for row in await self._run(sql, [], repeatable=True)]
        except asyncpg.UndefinedTableError:
            return []

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
        for reserved in self._reserved:
            await reserved.aclose()
        if self._writes:
            await asyncio.wait(self._writes, timeout=self._seconds)
        idle = await self._pool.drain(self._seconds)
        await asyncio.gather(*[retire(connection) for connection in idle])
        await self._retiring.aclose()


def _note_abandoned(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a write failed after its caller had gone", query=task.get_name(), error=error)


def _until(deadline: float) -> float:
    """Seconds left; some always are, so that what is late fails by its timeout."""
    return max(deadline - asyncio.get_running_loop().time(), 0.001)
