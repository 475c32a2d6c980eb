"""Poolers between the service and PostgreSQL: whether one keeps sessions, and how to do without.

A pooler in transaction mode gives each transaction of a connection another session. So a
statement that was prepared in one is unknown, or somebody else's, in the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeAlias

import asyncpg  # type: ignore[import-untyped]  # it has no types

from operator_svc.db.postgresql_connect import Connector
from operator_svc.db.postgresql_errors import REFUSED, AnotherServerError, refused
from operator_svc.db.postgresql_limits import begin, cut_if_late, end
from operator_svc.errors import ConfigurationError

_ON_TIMELINE = (
    "; SELECT 1 / CASE WHEN left(pg_walfile_name(pg_current_wal_lsn()), 8) = '{:08X}'"
    " THEN 1 ELSE 0 END"
)
_ELSEWHERE = (
    asyncpg.DivisionByZeroError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # a standby writes no log
)
_PID = "SELECT pg_backend_pid()"
_APPLICATION = "operator-svc probe"


NO_SESSIONS = (
    "PostgreSQL is reached through a pooler that does not keep sessions:"
    " set OPERATOR_DATABASE_DIRECT_URL to an address of the database past it"
)
NO_TRANSACTIONS = (
    "PostgreSQL is reached through a pooler in statement mode, which allows no transactions:"
    " have it pool transactions or sessions"
)

Fetch: TypeAlias = Callable[
    [asyncpg.Connection, str, Sequence[Any], float, int | None], Coroutine[Any, Any, list[Any]]
]
"""Runs a statement on a connection within so many seconds, on this timeline; its rows."""
STATEMENT_MODE = "statement pooling mode"
"""PgBouncer's own words where it allows no transactions."""


class Address(NamedTuple):
    """The URL of a database, one that gives each connection a session of its own (it may be the
    same), and whether the first one leads through a pooler that does not."""

    dsn: str
    direct: str
    pooled: bool

    @property
    def of_sessions(self) -> Address:
        """The address for what needs a session."""
        return Address(self.direct, self.direct, pooled=False)

    @property
    def fetch(self) -> Fetch:
        """The way in which a statement is run there."""
        return fetch_in_transaction if self.pooled else fetch_at_once


async def needs_transactions(dsn: str, seconds: float, *, direct: bool) -> bool:
    """True where each statement needs a transaction of its own.

    Raises ConfigurationError where the server refuses the user or the database, or a pooler allows
    no transactions, or does not keep sessions and there is no ``direct`` way past it, and
    OperatorError(DATABASE_UNAVAILABLE) where it does not answer.
    """
    try:
        kept = await keeps_sessions(dsn, seconds)
    except ConfigurationError:
        raise
    except Exception as error:
        # A certificate that cannot be verified is one too, and the server may get a valid one.
        malformed = isinstance(error, ValueError) and not isinstance(error, OSError)
        if malformed or isinstance(error, REFUSED):
            raise ConfigurationError([f"PostgreSQL: {error}"]) from error
        if STATEMENT_MODE in str(error):
            raise ConfigurationError([NO_TRANSACTIONS]) from error
        raise refused(error) from error
    if not kept and not direct:
        raise ConfigurationError([NO_SESSIONS])
    return not kept


async def keeps_sessions(dsn: str, seconds: float) -> bool:
    """True where a connection has one session for its life.

    Looks whether a session is given to a second connection while the first one is open, or the
    first one gets another meanwhile. Raises what asyncpg raises.
    """
    connector = Connector(dsn, _APPLICATION, pooled=True)
    opened: list[asyncpg.Connection] = []
    try:
        async with asyncio.timeout(seconds):
            opened.append(first := await connector.open(seconds))
            opened.append(second := await connector.open(seconds))
            work = _keep_sessions(first, second, seconds)
            return await cut_if_late(work, seconds, first, second)
    finally:
        for connection in opened:
            connection.terminate()


async def _keep_sessions(
    first: asyncpg.Connection, second: asyncpg.Connection, seconds: float
) -> bool:
    before = await fetch_in_transaction(first, _PID, (), seconds)
    async with second.transaction():
        others = await second.fetch(_PID)
        after = await fetch_in_transaction(first, _PID, (), seconds)
    return bool(others != before == after)


async def fetch_in_transaction(
    connection: asyncpg.Connection,
    sql: str,
    args: Sequence[Any],
    seconds: float,
    timeline: int | None = None,
) -> list[Any]:
    """The rows of a statement in a transaction of its own, which keeps the session until its end.

    Four round trips instead of one, within ``seconds``. Where they are late, or nobody waits for
    them, the connection is cut. Raises what asyncpg raises, TimeoutError, and AnotherServerError,
    before the statement is run, where the transaction is not on ``timeline``: a pooler leads open
    connections to another primary, and nobody is told.
    """
    first = begin(connection, seconds)
    if timeline is not None:
        first += _ON_TIMELINE.format(timeline)
    return await cut_if_late(_in_transaction(connection, first, sql, args), seconds, connection)


async def _in_transaction(
    connection: asyncpg.Connection, first: str, sql: str, args: Sequence[Any]
) -> list[Any]:
    try:
        await connection.execute(first)
    except _ELSEWHERE as error:
        raise AnotherServerError from error
    try:
        rows: list[Any] = await connection.fetch(sql, *args)
        await end(connection, "COMMIT")
    except asyncpg.PostgresError:
        if not connection.is_closed() and connection.is_in_transaction():
            try:
                await end(connection, "ROLLBACK")
            except Exception:  # the error of the statement is the one to tell
                connection.terminate()
        raise
    return rows


async def fetch_at_once(
    connection: asyncpg.Connection,
    sql: str,
    args: Sequence[Any],
    seconds: float,
    _timeline: int | None = None,
) -> list[Any]:
    """The rows of a statement. It may take ``seconds``; raises what asyncpg raises.

    A connection without a pooler stays with its server, which was asked when it was opened.
    """
    rows: list[Any] = await connection.fetch(sql, *args, timeout=seconds)
    return rows
