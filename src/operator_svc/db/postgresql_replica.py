"""A standby that answers reads for its primary, as long as it is one and is near enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it has no types
import msgspec
import structlog

from operator_svc.db.contract import Dialect, PassedOver, Reads
from operator_svc.db.pool import Pool
from operator_svc.db.postgresql import PostgresqlDatabase
from operator_svc.db.postgresql_connect import Connector
from operator_svc.db.postgresql_plans import Plan
from operator_svc.errors import OperatorError

R = TypeVar("R", bound=msgspec.Struct)
log = structlog.get_logger(__name__)

READ_SECONDS = 1.0
"""Longest time of a read there, connecting included; then the primary answers."""
BUSY_SECONDS = 0.1
"""Longest wait for a free connection."""
PAUSE_SECONDS = 5.0
"""Seconds for which a standby that did not answer, or is none of this primary, is left alone.
Then one read tries it."""
CATCH_UP_SECONDS, CATCH_UP_STEP = 0.25, 0.01
"""Longest wait for it to replay what the primary had committed, and the time between looks."""

NO_STANDBY = "no_standby"

_APPLICATION = "operator-svc replica"
_STATE = """
    SELECT
        pg_is_in_recovery() AS standby, c.system_identifier::text AS system, h.server, h.id
    FROM operator_history AS h CROSS JOIN pg_control_system() AS c
"""
_REPLAYED = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
_FAILED = (
    OSError,
    EOFError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class PostgresqlReplica:
    """See Replica. It has up to ``size`` connections, beside those of the ``primary``."""

    def __init__(self, dsn: str, primary: PostgresqlDatabase, size: int) -> None:
        self._connector = Connector(dsn, _APPLICATION, standby=True)
        self._primary = primary
        self._pool: Pool[asyncpg.Connection] = Pool(
            self._connect, lambda one: not one.is_closed(), size
        )
        self._resting = False
        self._rests_until = 0.0

    async def _connect(self, _deadline: float) -> asyncpg.Connection:
        try:
            return await self._connector.open(READ_SECONDS)
        except Exception as error:  # of whatever kind: it cannot be asked
            raise self._rest("down", repr(error)) from error

    @asynccontextmanager
    async def reads(self, *, all_of_it: bool) -> AsyncIterator[Reads]:
        """See Replica.reads."""
        self._admit()
        position = await self._primary.position() if all_of_it else None
        now = asyncio.get_running_loop().time()
        try:
            connection = await self._pool.acquire(now + BUSY_SECONDS)
        except OperatorError as error:
            raise PassedOver("busy") from error
        reader = _Reader(self._primary, connection, now + READ_SECONDS)
        whole = False
        try:
            await self._check(reader, position)
            yield reader
            whole = True
        except PassedOver as passed:
            whole = passed.reason != NO_STANDBY
            raise
        except TimeoutError as error:
            raise self._rest("slow", "it did not answer in time") from error
        except _FAILED as error:
            if connection.is_closed():
                raise self._rest("down", repr(error)) from error
            whole = isinstance(error, asyncpg.PostgresError)
            log.debug("a read failed on the standby", error=repr(error))
            raise PassedOver("failed") from error
        finally:
            if whole:
                self._note_answer()
                self._pool.release(connection)
            else:
                connection.terminate()
                self._pool.discard()

    async def _check(self, reader: _Reader, position: str | None) -> None:
        """Raise PassedOver where the connection does not lead to a standby of the primary, or
        to one that has not replayed up to ``position``.

        A standby only goes forward, so what the connection reads after this is not older.
        """
        ((standby, *told),) = await reader.run(_STATE, []) or [(False,)]
        if not standby:
            raise self._rest(NO_STANDBY, "the server is no standby")
        history = self._primary.known_history
        if told != [history.server.partition("/")[0], history.server, history.mark]:
            # One that was restored, or that does not follow the last switch-over, or not yet.
            raise PassedOver("history")
        if position is not None:
            await _replayed(reader, position)

    def _admit(self) -> None:
        if not self._resting:
            return
        now = asyncio.get_running_loop().time()
        if now < self._rests_until:
            raise PassedOver("paused")
        self._rests_until = now + PAUSE_SECONDS  # this one tries; others wait for what it finds

    def _rest(self, reason: str, told: str) -> PassedOver:
        """Leave the standby alone for a while; the reason to raise."""
        if not self._resting:
            log.warning("the standby is skipped", reason=reason, error=told)
        self._resting = True
        self._rests_until = asyncio.get_running_loop().time() + PAUSE_SECONDS
        for one in self._pool.take_idle():
            one.terminate()
        return PassedOver(reason)

    def _note_answer(self) -> None:
        if self._resting:
            log.info("the standby answers again")
        self._resting = False

    async def aclose(self) -> None:
        """See Replica.aclose."""
        for connection in await self._pool.drain(READ_SECONDS):
            connection.terminate()


async def _replayed(reader: _Reader, position: str) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + CATCH_UP_SECONDS
    while not (await reader.run(_REPLAYED, [position]))[0][0]:
        if loop.time() > until:
            raise PassedOver("behind")
        await asyncio.sleep(CATCH_UP_STEP)


class _Reader:
    """See Reads: one connection to a standby, until a moment of the loop's clock."""

    def __init__(
        self, primary: PostgresqlDatabase, connection: asyncpg.Connection, until: float
    ) -> None:
        self._primary = primary
        self._connection = connection
        self._until = until

    @property
    def dialect(self) -> Dialect:
        return "postgresql"

    @property
    def history(self) -> str:
        """See Reads.history: it was found to be the primary's."""
        return self._primary.history

    async def fetch(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        """See Reads.fetch."""
        return await self._primary.plans.fetch(self._run, query, record, params)

    async def fetch_one(self, query: str, record: type[R], /, **params: Any) -> R | None:
        """See Reads.fetch_one."""
        rows = await self.fetch(query, record, **params)
        return rows[0] if rows else None

    async def _run(self, plan: Plan, args: list[Any]) -> list[Any]:
        return await self.run(plan.sql, args)

    async def run(self, sql: str, args: list[Any]) -> list[Any]:
        """The rows of a statement. Raises what asyncpg raises."""
        left = max(self._until - asyncio.get_running_loop().time(), 0.001)
        rows: list[Any] = await self._connection.fetch(sql, *args, timeout=left)
        return rows
