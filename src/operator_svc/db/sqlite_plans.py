"""Queries as SQLite runs them: all statements of one, in one unit of work."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from operator_svc.db.queries import Query, Statement, replace_now
from operator_svc.db.query_sets import NOW, SetStatement, size_for
from operator_svc.db.records import RowReader
from operator_svc.db.sqlite_units import SqliteConnection
from operator_svc.telemetry import QueryTimes

R = TypeVar("R", bound=msgspec.Struct)

_MOMENT = "moment_of_the_unit"


class SqlitePlan:
    """A query with ``now()`` as a parameter: calling back into Python for it costs a third of a
    write."""

    def __init__(self, query: Query) -> None:
        self.name = query.name
        self.params = query.params
        self.observe = QueryTimes(query.name).observe
        self.set_of = query.set_of
        self.shared = tuple(sorted(query.set_of.shared)) if query.set_of else ()
        self._query = query
        self._statements = _with_moment(query.statements)
        self._timed = self._statements != query.statements
        self._for_sets: dict[int, tuple[tuple[SetStatement, str | None], ...]] = {}
        self._checked: set[type] = set()

    def run(self, raw: SqliteConnection, read: RowReader[R], params: dict[str, Any]) -> list[R]:
        """Run all statements, on the connection's thread; the rows of the last one that has
        columns. Raises what sqlite3 raises, and TypeError for a record of other columns."""
        if self.set_of is not None:
            return self.run_set(raw, read, [params])[0]
        if self._timed:
            params[_MOMENT] = raw.moment()
        else:
            raw.begin_unit()
        columns, rows = _execute(
            raw,
            (
                (sql, params)
                for sql, _, only_if in self._statements
                if only_if is None or params[only_if] is not None
            ),
        )
        return self._records(read, columns, rows)

    def run_set(
        self, raw: SqliteConnection, read: RowReader[R], writes: Sequence[dict[str, Any]]
    ) -> list[list[R]]:
        """As ``run``, for several writes with the parameters of each; the rows of each."""
        assert self.set_of is not None
        key, shared = self.set_of.key, {**writes[0], NOW: raw.moment()}
        columns, rows = _execute(
            raw,
            (
                (statement.sql, statement.arguments(writes, shared))
                for statement, only_if in self._of_size(size_for(len(writes)))
                if only_if is None or any(write[only_if] is not None for write in writes)
            ),
        )
        records = self._records(read, columns[1:], [row[1:] for row in rows])
        found = {row[0]: [record] for row, record in zip(rows, records, strict=True)}
        return [found.get(write[key], []) for write in writes]

    def _of_size(self, size: int) -> tuple[tuple[SetStatement, str | None], ...]:
        if size not in self._for_sets and self.set_of is not None:
            self._for_sets[size] = tuple(
                (SetStatement.of(one.sql, size, self.set_of), one.only_if)
                for one in self._query.statements
            )
        return self._for_sets[size]

    def _records(self, read: RowReader[R], columns: tuple[str, ...], rows: list[Any]) -> list[R]:
        if not read.columns:
            return []
        if read.record not in self._checked:
            read.check(self.name, columns, rows[0] if rows else None)
            self._checked.add(read.record)
        return read.read(rows)


def _execute(
    raw: SqliteConnection, statements: Iterable[tuple[str, Any]]
) -> tuple[tuple[str, ...], list[Any]]:
    """Run statements, each with its parameters; the columns and rows of the last that has any."""
    rows: list[Any] = []
    described: Any = ()
    for sql, params in statements:
        cursor = raw.execute(sql, params)
        if cursor.description is not None:
            described, rows = cursor.description, cursor.fetchall()
    return tuple(column[0] for column in described), rows


def _with_moment(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    return tuple(one._replace(sql=replace_now(one.sql, f":{_MOMENT}")) for one in statements)


class QueryCall(NamedTuple, Generic[R]):
    """A query that is to be run, with its parameters."""

    plan: SqlitePlan
    read: RowReader[R]
    params: dict[str, Any]

    def run(self, raw: SqliteConnection) -> list[R]:
        """Run it alone, on the connection's thread."""
        return self.plan.run(raw, self.read, self.params)

    @property
    def kind(self) -> Hashable:
        """The mark that the calls of a set have in common; None where the query allows no sets."""
        plan, read, params = self
        if plan.set_of is None:
            return None
        return plan.name, read.record, *(params[name] for name in plan.shared)

    @property
    def key(self) -> Any:
        """The parameter that no two calls of a set have in common."""
        return self.plan.set_of and self.params[self.plan.set_of.key]
