"""The interface of both database engines, as the stores use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Backend

Dialect = Literal["sqlite", "postgresql"]
DIALECTS: tuple[Dialect, ...] = ("sqlite", "postgresql")

R = TypeVar("R", bound=msgspec.Struct)

Violation = Literal["unique", "foreign_key", "check", "not_null", "exclusion", "other"]

RETRY_AFTER = 1.0
"""Seconds after which a client may try again when the database could not be reached."""


class Nothing(msgspec.Struct, frozen=True):
    """The record of a write without rows to read."""


class AsJson(msgspec.Struct, frozen=True):
    """A parameter that is stored as JSON whatever its type is.

    A dict or list is JSON anyway. A bare string, number or bool is not, since only
    PostgreSQL knows the column's type: ``AsJson("text")`` says so on both engines.
    """

    value: Any


class ConstraintViolation(Exception):  # noqa: N818  a fact, not a fault
    """The database refused a row.

    ``constraint`` is the constraint's name where the engine gives it; SQLite names a CHECK, but
    for a unique or not-null rule it gives the columns (``table.column, table.column``), and for
    a foreign key nothing (empty).
    """

    def __init__(self, kind: Violation, constraint: str) -> None:
        super().__init__(f"{kind} constraint violated: {constraint or 'unnamed'}")
        self.kind = kind
        self.constraint = constraint


def unavailable(detail: str = "the database cannot be reached") -> OperatorError:
    """The error of a call that the database did not answer; ``detail`` is shown to clients."""
    return OperatorError(ErrorCode.DATABASE_UNAVAILABLE, detail, retry_after=RETRY_AFTER)


class Transaction(Protocol):
    """An open transaction for offline tools: raw SQL with ``:name`` parameters, one statement each.

    It commits when its block ends, and rolls back when an exception (cancellation too) leaves it.
    """

    async def execute(self, sql: str, /, **params: Any) -> int:
        """Run a statement; the number of rows that it changed."""

    async def executemany(self, sql: str, rows: Iterable[Mapping[str, Any]], /) -> None:
        """Run a statement once for each set of parameters."""

    async def fetch(self, sql: str, /, **params: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, as the driver gives them."""


class PassedOver(Exception):  # noqa: N818  a fact, not a fault
    """A standby does not answer a read; the primary has to. ``reason`` is a word for the metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Reads(Protocol):
    """A database for those who only read. Queries are the named ones of ``sql/``.

    Every call raises ``OperatorError(DATABASE_UNAVAILABLE)`` when the database does not answer
    in time or cannot, ``ConstraintViolation`` when it refuses a row, ``TypeError`` when the
    parameters or the record do not fit the query, and ``LookupError`` for an unknown query.
    """

    @property
    def dialect(self) -> Dialect:
        """Which engine this is."""

    @property
    def history(self) -> str:
        """The line of commits that this database is on: another one after a switch-over to a
        standby or a restore, which may have lost commits. Empty before ``check_history`` where
        the server does not tell it."""

    async def fetch(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        """The rows of a read."""

    async def fetch_one(self, query: str, record: type[R], /, **params: Any) -> R | None:
        """The first row of a read, or None where there is none."""


class Replica(Protocol):
    """A standby of the database, which may answer reads in its place."""

    def reads(self, *, all_of_it: bool) -> AbstractAsyncContextManager[Reads]:
        """Reads of one connection to the standby, for the length of the block.

        What they show is never older than what the first of them showed and, with ``all_of_it``,
        than what the primary had committed when this was called. Raises PassedOver, in the block
        too, where the standby is away, slow, busy, none of this database's, or too far behind,
        and OperatorError(DATABASE_UNAVAILABLE) where the primary has to be asked and is away.
        """

    async def aclose(self) -> None:
        """Close all connections."""


class Database(Reads, Protocol):
    """An open database. Its calls raise as those of Reads."""

    def on_new_history(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the history has become another, before anything is read
        that belongs to it. It must not block."""

    async def check_history(self) -> None:
        """Find out the present history, and note that it is in use: a database that no process
        did so for a minute is taken for a restored one. Raises OperatorError(DATABASE_UNAVAILABLE).
        """

    async def write(self, query: str, record: type[R], /, **params: Any) -> list[R]:
        """Run a named write as one unit; the rows of its last statement that returns rows.

        Once begun it runs to its end: cancelling the caller abandons only the wait.
        It is never tried twice, so after DATABASE_UNAVAILABLE it may or may not have happened.
        """

    def reserve(self, connections: int, seconds: float) -> Sequence[Database]:
        """The same database by ``connections`` that nobody else uses, twice, so that a connection
        that is mute is done without: past a pooler first. ``seconds`` bounds each call. They are
        closed with this one. On SQLite it is this one."""

    async def ping(self) -> None:
        """Check that the database answers and, on SQLite, that what is written is kept: its files
        are in their place, and can be written."""

    async def applied_migrations(self) -> frozenset[str]:
        """The ids of the migrations that this database has; empty for an empty database."""

    async def serves_from(self) -> str | None:
        """The last migration that the oldest code knows which this schema serves; None where the
        schema does not say."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction over raw SQL, for offline tools and tests: on SQLite it holds the only
        writer for as long as it is open."""

    async def aclose(self) -> None:
        """Finish the writes under way and close all connections."""


class Listener(Protocol):
    """Notifications between processes that share a PostgreSQL database."""

    @property
    def is_open(self) -> bool:
        """True while it receives notifications."""

    @property
    def backend(self) -> Backend | None:
        """The session that it listens by; None while it is not open."""

    async def open(self) -> None:
        """Connect and listen; after a loss its owner calls this again.

        Raises OperatorError(DATABASE_UNAVAILABLE). What was sent while it was not open is
        missed, so the owner must read what changed.
        """

    async def notify(self, channel: str, *payloads: str) -> None:
        """Send payloads of up to 7,999 bytes to all listeners, this one included, in one
        transaction: all of them arrive, or none. Raises as open; when the server does not answer
        within two seconds, the connection counts as lost."""

    async def check(self) -> None:
        """Check that the server answers: a connection can be dead unnoticed. Raises as notify."""

    async def aclose(self) -> None:
        """Close it; no loss is reported."""


class Planned(Protocol):
    """A query as an engine runs it."""

    @property
    def params(self) -> frozenset[str]:
        """The names of its parameters."""


P = TypeVar("P", bound=Planned)


def plan_of(plans: Mapping[str, P], query: str, given: Mapping[str, Any]) -> P:
    """The plan of ``query``.

    Raises LookupError where there is none, and TypeError where ``given`` are not exactly its
    parameters.
    """
    plan = plans.get(query)
    if plan is None:
        raise LookupError(f"there is no query {query}")
    if given.keys() != plan.params:
        missing, unknown = sorted(plan.params - given.keys()), sorted(given.keys() - plan.params)
        raise TypeError(f"{query}: parameters missing {missing}, unknown {unknown}")
    return plan
