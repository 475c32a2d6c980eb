"""Queries as SQLite runs them: all statements of one, in one unit of work."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from operator_svc.db.queries import Query, replace_now
from operator_svc.db.records import RowReader
from operator_svc.db.sqlite_groups import SqliteConnection
from operator_svc.telemetry import query_observer

R = TypeVar("R", bound=msgspec.Struct)

_MOMENT = "moment_of_the_unit"


class SqlitePlan:
    """A query with ``now()`` as a parameter: calling back into Python for it costs a third of a
    write."""

    def __init__(self, query: Query) -> None:
        self.name = query.name
        self.params = query.params
        self.observe = query_observer(query.name)
        self._statements = tuple(
            statement._replace(sql=replace_now(statement.sql, f":{_MOMENT}"))
            for statement in query.statements
        )
        self._timed = self._statements != query.statements
        self._checked: set[type] = set()

    def run(self, raw: SqliteConnection, read: RowReader[R], params: dict[str, Any]) -> list[R]:
        """Run all statements, on the connection's thread; the rows of the last one that has
        columns. Raises what sqlite3 raises, and TypeError for a record of other columns."""
        if self._timed:
            params[_MOMENT] = raw.moment()
        else:
            raw.begin_unit()
        rows: list[Any] = []
        columns: tuple[Any, ...] = ()
        for sql, _, only_if in self._statements:
            if only_if is not None and params[only_if] is None:
                continue
            cursor = raw.execute(sql, params)
            if cursor.description is not None:
                columns, rows = cursor.description, cursor.fetchall()
        if not read.columns:
            return []
        if read.record not in self._checked:
            read.check(self.name, tuple(column[0] for column in columns), rows[0] if rows else None)
            self._checked.add(read.record)
        return read.read(rows)
