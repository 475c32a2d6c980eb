"""Named queries as PostgreSQL runs them, whatever connection they are run on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from operator_svc import tracing
from operator_svc.db.contract import Nothing, plan_of
from operator_svc.db.queries import Query
from operator_svc.db.query_sets import ItemSet, item_set
from operator_svc.db.records import RowReader, reader
from operator_svc.telemetry import QueryTimes

R = TypeVar("R", bound=msgspec.Struct)


class Plan(NamedTuple):
    """The statement of a query: its parameters as their names, and in the order of ``$n``."""

    name: str
    params: frozenset[str]
    sql: str
    order: tuple[str, ...]
    observe: Callable[[float], None]
    items: ItemSet | None


Run: TypeAlias = Callable[[Plan, list[Any]], Awaitable[list[Any]]]
"""Runs a statement with its arguments; its rows."""


class Plans:
    """The statement of each query, and the records of its rows."""

    def __init__(self, queries: Mapping[str, Query]) -> None:
        self._plans = {query.name: _plan(query) for query in queries.values()}
        self._checked: set[tuple[str, type]] = set()

    async def fetch(
        self, run: Run, query: str, record: type[R], params: Mapping[str, Any]
    ) -> list[R]:
        """The records of a query that is run by ``run``. Raises as Database says, and what
        ``run`` raises."""
        plan = plan_of(self._plans, query, params)
        started = perf_counter()
        try:
            with tracing.span(plan.name, "client", db__system__name="postgresql"):
                rows = await run(plan, [params[name] for name in plan.order])
            return self._records(plan, record, rows)
        finally:
            plan.observe(perf_counter() - started)

    def _records(self, plan: Plan, record: type[R], rows: list[Any]) -> list[R]:
        if not rows or record is Nothing:
            return []
        read: RowReader[R] = reader(record, "postgresql")
        columns = tuple(rows[0].keys())
        if plan.items is not None:  # the first one says whose row it is
            columns, rows = columns[1:], [row[1:] for row in rows]
        if (plan.name, record) not in self._checked:
            read.check(plan.name, columns, rows[0])
            self._checked.add((plan.name, record))
        return read.read(rows)


def _plan(query: Query) -> Plan:
    sql, order, _ = query.statements[0]
    items = item_set(sql, order, query.set_of) if query.set_of else None
    return Plan(query.name, query.params, sql, order, QueryTimes(query.name).observe, items)
