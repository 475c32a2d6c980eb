"""What the errors of PostgreSQL and its driver mean to callers of a Database."""

from __future__ import annotations

import asyncio

import asyncpg  # type: ignore[import-untyped]

from operator_svc.db.contract import ConstraintViolation, Violation, unavailable

_VIOLATIONS: dict[type[Exception], Violation] = {
    asyncpg.UniqueViolationError: "unique",
    asyncpg.ForeignKeyViolationError: "foreign_key",
    asyncpg.CheckViolationError: "check",
    asyncpg.NotNullViolationError: "not_null",
    asyncpg.ExclusionViolationError: "exclusion",
}

LOST = (
    OSError,
    EOFError,
    asyncpg.PostgresConnectionError,  # SQLSTATE 08
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.DatabaseDroppedError,
    asyncpg.IdleSessionTimeoutError,
    # The driver lost track of the connection's state: seen when the server is killed just as
    # a statement is sent ("cannot switch to state 12; another operation (2) is in progress").
    asyncpg.InternalClientError,
)
"""The connection is gone (or the server starts or stops): another one may do."""

_BUSY = (
    asyncio.TimeoutError,
    asyncpg.InsufficientResourcesError,  # SQLSTATE 53: connections, memory, disk
    asyncpg.QueryCanceledError,  # statement_timeout of the role or the server
    asyncpg.TransactionTimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresIOError,
    asyncpg.ReadOnlySQLTransactionError,
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
    """Whether ``error`` of a connection that is ``closed`` means that it was lost."""
    if isinstance(error, TimeoutError):  # which is an OSError
        return False
    return isinstance(error, LOST) or (closed and isinstance(error, asyncpg.InterfaceError))


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
        known = unavailable("the database can not do this now")
    elif isinstance(error, REFUSED):
        known = unavailable("the database refused the connection")
    else:
        return error
    known.__cause__ = error
    return known
