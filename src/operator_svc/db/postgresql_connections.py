"""The connections of a PostgreSQL database: taken, proved, lost, and statements tried again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import structlog

from operator_svc.background import TaskOwner
from operator_svc.db.history import KnownHistory
from operator_svc.db.pool import Pool
from operator_svc.db.postgresql_connect import READ_ONLY, Connector, retire
from operator_svc.db.postgresql_errors import AILING, UNDONE, is_lost, refused, translated
from operator_svc.db.postgresql_overdue import BACKEND, CHECK_SECONDS, WORKING, OverdueCalls
from operator_svc.db.postgresql_pooler import Address
from operator_svc.models import Backend

log = structlog.get_logger(__name__)

_PROOF_SECONDS = 1.0
OPEN_SECONDS = 3.0
"""Time after which a connection whose opening is not answered is opened anew: what was lost on its
way does not come, and the rest of the call's time remains for a server that is slow."""
_APPLICATION = "operator-svc"

HISTORY = """
    SELECT s.system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
    FROM pg_control_system() AS s
"""
"""The server's system identifier and timeline: a standby that is promoted begins a new timeline,
and a server that was restored from a dump has another identifier."""
UNKNOWN_HISTORY = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedFunctionError,
    asyncpg.FeatureNotSupportedError,
)
"""The server does not reveal its timeline. A lost commit is then detected only if the event log
ends before what clients have seen."""

ATTEMPTS = 8
"""Attempts of a statement that the server undoes for a reason that passes: deadlocks,
serialisation failures, a connection that leads to a standby."""
AILING_SECONDS = 10.0
"""Least time between log lines about a server that lacks disk or memory: each call may meet it."""
RETRY_PAUSE = 0.01
"""Longest pause, in seconds, before the first retry; each further one may take this much longer."""


class Connections:
    """Up to ``size`` connections to the server that takes writes; each call takes ``seconds``."""

    def __init__(self, address: Address, size: int, seconds: float) -> None:
        self._connector = Connector(address.dsn, _APPLICATION, pooled=address.pooled)
        self._fetch = address.fetch
        self._seconds = seconds
        self._pool: Pool[asyncpg.Connection] = Pool(
            self._connect, lambda one: not one.is_closed(), size, self._prove
        )
        self._overdue = None if address.pooled else OverdueCalls(self._working_sessions)
        self._retiring = TaskOwner("postgresql")
        self._reachable = True
        self._ailing_noted = float("-inf")
        self.history = KnownHistory()
        self.history.on_change(self._close_idle)

    async def _connect(self, deadline: float) -> asyncpg.Connection:
        try:
            connection = await self._open(deadline)
        except Exception as error:
            self._note_reachable(error)
            raise refused(error) from error
        self._note_reachable(None)
        return connection

    async def _open(self, deadline: float) -> asyncpg.Connection:
        """A connection to a server whose history is noted. One that is not answered is given up
        early, and another tried."""
        early = asyncio.get_running_loop().time() + OPEN_SECONDS
        if early < deadline:
            with suppress(TimeoutError):
                return await self._open_once(early)
        return await self._open_once(deadline)

    async def _open_once(self, deadline: float) -> asyncpg.Connection:
        connection = await self._connector.open(_until(deadline))
        try:
            if self._overdue is not None:
                rows = await self._fetch(connection, BACKEND, (), _until(deadline), None)
                self._overdue.note(connection, Backend(*rows[0]))
            told = await self._fetch(connection, HISTORY, (), _until(deadline), None)
            self._note_server(told)
        except UNKNOWN_HISTORY as error:
            log.debug("the server does not tell its history", error=repr(error))
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _working_sessions(self, pids: list[int], began: list[datetime]) -> set[Backend]:
        """Those of some sessions from which answers may come. The server is asked on a connection
        of its own: all others may be waiting for what does not come."""
        connection = await self._connector.open(CHECK_SECONDS)
        try:
            rows = await self._fetch(connection, WORKING, (pids, began), CHECK_SECONDS, None)
        finally:
            connection.terminate()
        return {Backend(*row) for row in rows}

    def _note_server(self, rows: list[Any]) -> None:
        self.history.note_server(rows[0][0])

    def _note_reachable(self, error: Exception | None) -> None:
        """Log that the database went away, and that it is back, once each."""
        if error is not None and self._reachable:
            log.warning("the database cannot be reached", error=repr(error))
        elif error is None and not self._reachable:
            log.info("the database is reached again")
        self._reachable = error is None

    def _note_ailing(self, error: BaseException) -> None:
        """Log now and then what the server lacks: nothing else tells it, since clients and callers
        learn only that the database cannot do this now."""
        now = asyncio.get_running_loop().time()
        if isinstance(error, AILING) and now - self._ailing_noted >= AILING_SECONDS:
            self._ailing_noted = now
            log.warning("the database cannot do this now", error=repr(error))

    async def _prove(self, connection: asyncpg.Connection, deadline: float) -> bool:
        """True where a connection answers and takes writes. Where one does not, it is closed, and
        the free ones with it."""
        seconds = min(_until(deadline), _PROOF_SECONDS)
        try:
            rows = await self._fetch(connection, READ_ONLY, (), seconds, self.history.timeline)
            if rows[0][0] == "off":
                return True
        except Exception as error:  # any failure disproves it
            log.debug("a connection failed its proof", error=repr(error))
        except BaseException:
            connection.terminate()
            raise
        connection.terminate()
        self._close_idle()
        return False

    def _close_idle(self) -> None:
        """Close the free connections: they most likely lead to a server that is the wrong one."""
        for one in self._pool.take_idle():
            one.terminate()

    async def run(self, sql: str, args: list[Any], *, repeatable: bool) -> list[Any]:
        """The rows of a statement. One that the server undid is tried again; one whose answer
        was lost with its connection once more, if it is ``repeatable``."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        attempt = 0
        while True:
            connection = await self._pool.acquire(deadline)
            try:
                rows = await self._call(connection, sql, args, deadline)
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

    async def _call(
        self, connection: asyncpg.Connection, sql: str, args: list[Any], deadline: float
    ) -> list[Any]:
        timeline = self.history.timeline
        if self._overdue is None:
            return await self._fetch(connection, sql, args, _until(deadline), timeline)
        self._overdue.begin(connection)
        try:
            return await self._fetch(connection, sql, args, _until(deadline), timeline)
        finally:
            self._overdue.end(connection)

    def _after_failure(self, connection: asyncpg.Connection, error: BaseException) -> bool:
        """Give the connection back, or away; whether it was lost."""
        closed = connection.is_closed()
        lost = is_lost(error, closed)
        self._note_ailing(error)
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

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection in a transaction, for the length of the block."""
        connection = await self._pool.acquire(asyncio.get_running_loop().time() + self._seconds)
        try:
            async with connection.transaction():
                yield connection
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

    async def check_server(self) -> None:
        """Look at the server again: a pooler may lead an open connection to another one."""
        if self.history.server:
            self._note_server(await self.run(HISTORY, [], repeatable=True))

    async def aclose(self) -> None:
        """Give out no more, wait for those that are out, and close all."""
        idle = await self._pool.drain(self._seconds)
        if self._overdue is not None:
            await self._overdue.aclose()
        await asyncio.gather(*[retire(connection) for connection in idle])
        await self._retiring.aclose()


def _until(deadline: float) -> float:
    """Seconds left; some always are, so that what is late fails by its timeout."""
    return max(deadline - asyncio.get_running_loop().time(), 0.001)
