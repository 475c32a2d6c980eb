"""Transactions of raw SQL on PostgreSQL, for offline tools and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types

from operator_svc.db.queries import compile_statement


class PostgresqlTransaction:
    """See Transaction."""

    def __init__(self, connection: asyncpg.Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds

    async def execute(self, sql: str, /, **params: Any) -> int:
        """See Transaction.execute."""
        statement = compile_statement(sql, "postgresql")
        args = [params[name] for name in statement.params]
        tag = await self._connection.execute(statement.sql, *args, timeout=self._seconds)
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def executemany(self, sql: str, rows: Iterable[Mapping[str, Any]], /) -> None:
        """See Transaction.executemany."""
        statement = compile_statement(sql, "postgresql")
        args = [[row[name] for name in statement.params] for row in rows]
        await self._connection.executemany(statement.sql, args, timeout=self._seconds)

    async def fetch(self, sql: str, /, **params: Any) -> list[tuple[Any, ...]]:
        """See Transaction.fetch."""
        statement = compile_statement(sql, "postgresql")
        args = [params[name] for name in statement.params]
        rows = await self._connection.fetch(statement.sql, *args, timeout=self._seconds)
        return [tuple(row) for row in rows]
