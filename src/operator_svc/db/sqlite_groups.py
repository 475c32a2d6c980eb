"""Groups of writes on SQLite, as its writer's thread runs them, and what its errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from operator_svc.db.contract import ConstraintViolation, Violation, unavailable
from operator_svc.db.sqlite_sets import Write, run_group
from operator_svc.db.sqlite_units import SqliteConnection

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "the database is locked by another process",
    sqlite3.SQLITE_LOCKED: "the database is locked",
    sqlite3.SQLITE_FULL: "the database's disk is full",
    sqlite3.SQLITE_IOERR: "the database's disk does not answer",
    sqlite3.SQLITE_READONLY: "the database cannot be written",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
    sqlite3.SQLITE_INTERRUPT: "the database did not answer in time",
    sqlite3.SQLITE_PROTOCOL: "the database is locked",
    sqlite3.SQLITE_NOMEM: "the database is out of memory",
}
_VIOLATIONS: dict[int, Violation] = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "unique",
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "unique",
    sqlite3.SQLITE_CONSTRAINT_ROWID: "unique",
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "foreign_key",
    sqlite3.SQLITE_CONSTRAINT_CHECK: "check",
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: "not_null",
}


class Failure(NamedTuple):
    """The outcome of a write that failed."""

    error: Exception


def translated(error: Exception) -> Exception:
    """``error`` as callers of a Database know it; an unknown one as it is."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return error
    known: Exception
    if detail := _UNAVAILABLE.get(code & 0xFF):
        known = unavailable(detail)
    elif code & 0xFF == sqlite3.SQLITE_CONSTRAINT:
        known = ConstraintViolation(
            _VIOLATIONS.get(code, "other"), str(error).partition("failed: ")[2]
        )
    else:
        return error
    known.__cause__ = error
    return known


def applied_migrations(raw: sqlite3.Connection) -> frozenset[str]:
    """The ids in yoyo's table; empty where there is none."""
    return frozenset(_column(raw, "_yoyo_migration", "migration_id"))


def serves_from(raw: sqlite3.Connection) -> str | None:
    """The last migration that the oldest code knows which this schema serves, if it says so."""
    return next(iter(_column(raw, "operator_schema", "serves_from")), None)


def _column(raw: sqlite3.Connection, table: str, column: str) -> list[str]:
    """A column of a table; empty where there is no such table yet."""
    known = raw.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    if known is None:
        return []
    return [row[0] for row in raw.execute(f"SELECT {column} FROM {table}")]  # noqa: S608 - ours


def commit_group(raw: SqliteConnection, group: Sequence[Write]) -> list[Any]:
    """Run the writes of ``group`` in one transaction; for each its rows, or its Failure.

    Nearly always all go well; where one does not, all are undone and done again, each in its
    savepoint. (Savepoints are two statements more for each write, and with each statement the
    thread gives the interpreter away and must get it back.)
    """
    failure = _attempt(raw, "BEGIN IMMEDIATE")
    if failure is not None:
        return [failure] * len(group)
    try:
        outcomes = run_group(raw, group)
    except Exception as error:  # it goes to the caller of that write
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        if len(group) == 1:
            return [Failure(translated(error))]
        return _commit_each(raw, group)
    if (failure := _attempt(raw, "COMMIT")) is not None:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        return [failure] * len(group)
    return outcomes


def _commit_each(raw: SqliteConnection, group: Sequence[Write]) -> list[Any]:
    """As ``commit_group``, where one of the writes is known to fail.

    It is rolled back alone. Where SQLite gives the whole transaction up (a full disk does
    that), the writes before have failed with it, and the others go on in a new one. When
    COMMIT fails, all have.
    """
    outcomes: list[Any] = []
    first = 0
    failure = _attempt(raw, "BEGIN IMMEDIATE")
    for write in group:
        if failure is not None:
            return outcomes + [failure] * (len(group) - len(outcomes))
        outcome = _run_one(raw, write.run)
        outcomes.append(outcome)
        if isinstance(outcome, Failure) and not raw.in_transaction:
            _fail(outcomes, first, outcome)
            first = len(outcomes)
            failure = _attempt(raw, "BEGIN IMMEDIATE")
    if raw.in_transaction and (failure := _attempt(raw, "COMMIT")) is not None:
        _fail(outcomes, first, failure)
        if raw.in_transaction:
            raw.execute("ROLLBACK")
    return outcomes


def deliver(group: Sequence[Write], outcomes: Sequence[Any]) -> None:
    """Resolve the futures of those who still wait."""
    for write, outcome in zip(group, outcomes, strict=True):
        if write.future.done():
            continue
        if isinstance(outcome, Failure):
            write.future.set_exception(outcome.error)
        else:
            write.future.set_result(outcome)


def _run_one(raw: SqliteConnection, run: Callable[[SqliteConnection], Any]) -> Any:
    try:
        raw.execute("SAVEPOINT one")
        rows = run(raw)
        raw.execute("RELEASE one")
        return rows
    except Exception as error:  # it is the answer to the one who waits for this write
        if raw.in_transaction:
            raw.execute("ROLLBACK TO one")
            raw.execute("RELEASE one")
        return Failure(translated(error))


def _attempt(raw: sqlite3.Connection, sql: str) -> Failure | None:
    try:
        raw.execute(sql)
    except sqlite3.Error as error:
        return Failure(translated(error))
    return None


def _fail(outcomes: list[Any], first: int, failure: Failure) -> None:
    for i in range(first, len(outcomes)):
        if not isinstance(outcomes[i], Failure):
            outcomes[i] = failure
