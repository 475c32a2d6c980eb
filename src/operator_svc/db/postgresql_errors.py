"""Translates the errors of PostgreSQL and its driver for callers of a Database."""

from __future__ import annotations

import asyncio

import asyncpg  # type: ignore[import-untyped]  # it has no types

from operator_svc.db.contract import ConstraintViolation, Violation, unavailable
from operator_svc.errors import OperatorError

_VIOLATIONS: dict[type[Exception], Violation] = {
    asyncpg.UniqueViolationError: "unique",
    asyncpg.ForeignKeyViolationError: "foreign_key",
    asyncpg.CheckViolationError: "check",
    asyncpg.NotNullViolationError: "not_null",
    asyncpg.ExclusionViolationError: "exclusion",
}


class AnotherServerError(Exception):
    """A pooler leads a connection to another server than before; nothing was done there."""


LOST = (
    OSError,
    EOFError,
    asyncpg.PostgresConnectionError,  # SQLSTATE 08
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.DatabaseDroppedError,
    asyncpg.IdleSessionTimeoutError,
    # SQLSTATE 25: it leads to what is a standby by now (25006), or to a session in a transaction
    # that nobody here began.
    asyncpg.InvalidTransactionStateError,
    # 26000 and 42P05: a pooler has put another session behind it.
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
    AnotherServerError,
    # The driver lost track of the connection's state: seen when the server is killed just as
    # a statement is sent ("cannot switch to state 12; another operation (2) is in progress").
    asyncpg.InternalClientError,
)
"""They say something of the connection, not of the statement: another connection may do."""

UNDONE = (
    AnotherServerError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InFailedSQLTransactionError,
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.SerializationError,  # 40001
    asyncpg.DeadlockDetectedError,  # 40P01
)
"""The statement did nothing, for a reason that passes: it may be tried again, a write too."""

AILING = (
    asyncpg.InsufficientResourcesError,  # SQLSTATE 53: connections, memory, disk
    asyncpg.PostgresSystemError,  # SQLSTATE 58: it cannot read or write its files
)
"""They say something of the server's machine, which somebody must look at."""

_BUSY = (
    *AILING,
    asyncio.TimeoutError,
    asyncpg.OperatorInterventionError,  # SQLSTATE 57, with statement_timeout
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # SQLSTATE 40
    asyncpg.TargetServerAttributeNotMatched,
)

REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,  # SQLSTATE 28, wrong passwords too
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
    asyncpg.InsufficientPrivilegeError,
)
"""The server answers, but not to this user, password or database name."""


def is_lost(error: BaseException, closed: bool) -> bool:
    """True where ``error`` of a connection that is ``closed`` means that it was lost."""
    if isinstance(error, TimeoutError):  # which is an OSError
        return False
    return isinstance(error, LOST) or (closed and isinstance(error, asyncpg.InterfaceError))


def refused(error: Exception) -> OperatorError:
    """The error for callers of a failure to open a connection, whatever it was."""
    known = translated(error, closed=True)
    if not isinstance(known, OperatorError):
        known = unavailable("the database refused the connection")
        known.__cause__ = error
    return known


def translated(error: Exception, *, closed: bool = False) -> Exception:
    """``error`` as callers of a Database know it; an unknown one as it is."""
    known: Exception
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        kind = _VIOLATIONS.get(type(error), "other")
        known = ConstraintViolation(kind, error.constraint_name or error.column_name or "")
    elif isinstance(error, TimeoutError):
        known = unavailable("the database did not answer in time")
    elif is_lost(error, closed):
        known = unavailable()
    elif isinstance(error, _BUSY):
        known = unavailable("the database cannot do this now")
    elif isinstance(error, REFUSED):
        known = unavailable("the database refused the connection")
    else:
        return error
    known.__cause__ = error
    return known
