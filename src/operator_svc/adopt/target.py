"""operator_adopted, and the bulk writes that bring legacy rows into the other tables.

For the offline command ``adopt`` alone: everything runs in one transaction of raw SQL. On
PostgreSQL a batch goes in as arrays; on SQLite by way of a temporary table, because one INSERT of
many rows costs the search index a third of many INSERTs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from operator_svc.adopt.columns import COLUMNS
from operator_svc.db import Database, Dialect, Transaction

Row: TypeAlias = Mapping[str, Any]
"""A new row by its columns; JSON is text already."""

ADVISORY_KEY = 252607090
"""Key of the advisory lock; any number that nobody else in the database uses."""

_ARRAY_OF = {"uuid": "text", "jsonb": "text"}


class SessionAt(NamedTuple):
    """A session that is there, and the highest id of its messages (0 where it has none).
    ``deleted`` says that only rows of it are left, which go too."""

    user_id: str
    highest: int
    deleted: bool


class AdoptionStore:
    """Reads and writes in a transaction of the target; where ``dry``, it only reads."""

    def __init__(self, transaction: Transaction, dialect: Dialect, *, dry: bool = False) -> None:
        self._tx = transaction
        self._sqlite = dialect == "sqlite"
        self._dry = dry
        self._highest: dict[str, int] = {}
        self._staged: set[str] = set()

    # Reading.

    async def sources(self) -> list[str]:
        """The legacy databases of which rows were adopted, each by its name."""
        found: list[str] = []
        while True:
            rows = await self._tx.fetch(
                "SELECT source FROM operator_adopted WHERE source > :after ORDER BY source LIMIT 1",
                after=found[-1] if found else "",
            )
            if not rows:
                return found
            found.append(rows[0][0])

    async def known(
        self, sources: Collection[str], table: str, old_ids: Collection[str]
    ) -> dict[str, str]:
        """The new ids of rows that were adopted before, by legacy id."""
        found: dict[str, str] = {}
        for source in sources:
            rows = await self._tx.fetch(
                "SELECT old_id, new_id FROM operator_adopted WHERE source = :source"  # noqa: S608
                f" AND table_name = :table AND old_id {self._among('old_ids', 'text')}",
                source=source,
                table=table,
                old_ids=list(old_ids),
            )
            found.update((row[0], row[1]) for row in rows)
        return found

    async def taken(self, table: str, ids: Collection[int]) -> set[int]:
        """Those of ``ids`` that rows of the table have."""
        if not ids:
            return set()
        rows = await self._tx.fetch(
            f"SELECT id FROM {table} WHERE id {self._among('ids', 'bigint')}",  # noqa: S608
            ids=list(ids),
        )
        return {row[0] for row in rows}

    async def taken_task_ids(self, task_ids: Collection[str]) -> set[str]:
        """Those of ``task_ids`` that browser tasks have."""
        rows = await self._tx.fetch(
            "SELECT task_id FROM operator_browser_task"  # noqa: S608
            f" WHERE task_id {self._among('task_ids', 'text')}",
            task_ids=list(task_ids),
        )
        return {row[0] for row in rows}

    async def sessions(self, session_ids: Collection[str]) -> dict[str, SessionAt]:
        """Those of the sessions that are there. On PostgreSQL nobody deletes them until the end of
        the transaction: what is brought into them would go, too. Others still write to them."""
        if not session_ids:
            return {}
        lock = "" if self._sqlite or self._dry else " FOR KEY SHARE OF s"
        rows = await self._tx.fetch(
            "SELECT s.session_id, s.user_id, s.deleted_at IS NOT NULL, coalesce("  # noqa: S608
            "(SELECT max(m.id) FROM operator_message AS m WHERE m.session_id = s.session_id), 0)"
            f" FROM operator_session AS s WHERE s.session_id {self._among('names', 'text')}{lock}",
            names=list(session_ids),
        )
        return {
            name: SessionAt(user_id, highest, bool(deleted))
            for name, user_id, deleted, highest in rows
        }

    def _among(self, name: str, kind: str) -> str:
        if self._sqlite:
            return f"IN (SELECT value FROM json_each(:{name}))"  # noqa: S608
        return f"= ANY(:{name}::{kind}[])"

    # Ids.

    async def number_from(self, table: str, highest: int) -> None:
        """Before any row is inserted: ids that are given out are greater than ``highest``."""
        rows = await self._tx.fetch(f"SELECT coalesce(max(id), 0) FROM {table}")  # noqa: S608
        if self._sqlite:
            rows += await self._tx.fetch(
                "SELECT seq FROM sqlite_sequence WHERE name = :table", table=table
            )
        self._highest[table] = max([highest, *(row[0] for row in rows)])

    async def new_ids(self, table: str, how_many: int) -> list[int]:
        """Increasing ids that were never used."""
        if how_many and not self._sqlite and not self._dry:
            rows = await self._tx.fetch(
                "SELECT nextval(pg_get_serial_sequence(:table, 'id'))"
                " FROM generate_series(1, :how_many::int)",
                table=table,
                how_many=how_many,
            )
            return sorted(row[0] for row in rows)
        first = self._highest[table] + 1
        self._highest[table] += how_many
        return list(range(first, first + how_many))

    # Writing.

    async def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Insert rows, all of which have the columns of COLUMNS."""
        if not rows or self._dry:
            return
        if self._sqlite:
            await self._insert_sqlite(table, rows)
        else:
            columns = COLUMNS[table]
            arrays = {name: [row[name] for row in rows] for name in columns}
            await self._tx.execute(_insert_arrays(table), **arrays)

    async def _insert_sqlite(self, table: str, rows: Sequence[Row]) -> None:
        names = ", ".join(COLUMNS[table])
        if table not in self._staged:
            await self._tx.execute(f"CREATE TEMP TABLE staged_{table} ({names})")
            self._staged.add(table)
        values = ", ".join(f":{name}" for name in COLUMNS[table])
        await self._tx.executemany(
            f"INSERT INTO temp.staged_{table} VALUES ({values})",  # noqa: S608
            rows,
        )
        await self._tx.execute(
            f"INSERT INTO {table} ({names})"  # noqa: S608
            f" SELECT {names} FROM temp.staged_{table} WHERE TRUE ORDER BY rowid{_again(table)}"
        )
        await self._tx.execute(f"DELETE FROM temp.staged_{table}")  # noqa: S608

    async def note(self, source: str, table: str, became: Mapping[str, str]) -> None:
        """Keep what rows of a legacy table became, by legacy id."""
        await self.insert(
            "operator_adopted",
            [
                {"source": source, "table_name": table, "old_id": old_id, "new_id": new_id}
                for old_id, new_id in became.items()
            ],
        )

    async def join_sessions(
        self, rows: Sequence[tuple[str, str, datetime, datetime, bool]]
    ) -> None:
        """For ``(session_id, source, created_at, updated_at, whole)``: the latest update counts,
        and, where ``whole``, the earliest row says when it was made and from where it came. From
        here to the end of the transaction nobody else writes to those that change."""
        if self._dry:
            return
        least, most = ("min", "max") if self._sqlite else ("least", "greatest")
        kind = "" if self._sqlite else "::timestamptz"
        names = ("session_id", "source", "created_at", "updated_at", "whole")
        await self._tx.executemany(
            "UPDATE operator_session SET"  # noqa: S608
            " source = CASE WHEN :whole AND created_at > :created_at THEN :source ELSE source END,"
            f" created_at = CASE WHEN :whole THEN {least}(created_at, :created_at{kind})"
            " ELSE created_at END,"
            f" updated_at = {most}(updated_at, :updated_at{kind}),"
            f" active_at = {most}(active_at, :updated_at{kind})"
            " WHERE session_id = :session_id AND (updated_at < :updated_at"
            " OR active_at < :updated_at OR (:whole AND created_at > :created_at))",
            [dict(zip(names, row, strict=True)) for row in rows],
        )

    async def count_messages(self, rows: Sequence[tuple[str, int, datetime, bool]]) -> None:
        """For ``(session_id, added, last, made)``: count the added messages; a session that was
        made for them was last updated by the last of them."""
        if self._dry:
            return
        most, kind = ("max", "") if self._sqlite else ("greatest", "::timestamptz")
        names = ("session_id", "added", "last", "made")
        await self._tx.executemany(
            "UPDATE operator_session SET message_count = message_count + :added,"  # noqa: S608
            f" active_at = {most}(active_at, :last{kind}),"
            f" updated_at = CASE WHEN :made THEN {most}(updated_at, :last{kind})"
            " ELSE updated_at END"
            " WHERE session_id = :session_id",
            [dict(zip(names, row, strict=True)) for row in rows],
        )


def _insert_arrays(table: str) -> str:
    columns = COLUMNS[table]
    arrays = ", ".join(f":{name}::{_ARRAY_OF.get(kind, kind)}[]" for name, kind in columns.items())
    values = ", ".join(
        f"CAST(u.{name} AS {kind})" if kind in _ARRAY_OF else f"u.{name}"
        for name, kind in columns.items()
    )
    return (
        f"INSERT INTO {table} ({', '.join(columns)})"  # noqa: S608
        f" SELECT {values} FROM unnest({arrays}) AS u ({', '.join(columns)}){_again(table)}"
    )


async def take_turn(transaction: Transaction, dialect: Dialect) -> bool:
    """Let nobody else adopt until the end of the transaction; False where somebody does so now."""
    if dialect == "sqlite":
        return True
    rows = await transaction.fetch(f"SELECT pg_try_advisory_xact_lock({ADVISORY_KEY})")
    return bool(rows[0][0])


async def reserve_ids(database: Database, highest: Mapping[str, int]) -> None:
    """Let PostgreSQL give new rows ids greater than these, from now on.

    The tables are locked for a moment: afterwards no transaction has a lower id that it has not
    committed yet. SQLite needs nothing of this, since nobody else is there.
    """
    if database.dialect == "sqlite":
        return
    async with database.transaction() as transaction:
        await transaction.execute(
            f"LOCK TABLE {', '.join(sorted(highest))} IN SHARE ROW EXCLUSIVE MODE"
        )
        for table, number in highest.items():
            await transaction.fetch(
                "SELECT setval(s.name, greatest(:number::bigint,"
                " coalesce(pg_sequence_last_value(s.name), 1)))"
                " FROM (SELECT pg_get_serial_sequence(:table, 'id')::regclass AS name) AS s"
                " WHERE :number > 0",
                table=table,
                number=number,
            )


def _again(table: str) -> str:
    """Rows of a legacy table without a key may be the same in all that is known of them."""
    return " ON CONFLICT DO NOTHING" if table == "operator_adopted" else ""
