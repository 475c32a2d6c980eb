"""Sets: writes of one query that wait at the same time and are run as one.

The hint ``/*+ set by :name sharing :other, … */`` before a query allows it. Its SQL then is about
all rows of ``given``, which has one for each write: ``:parameter`` is what that write gave. What
the writes have to share is the same in all of them, and a set has one write for each ``:name``.
A row that comes back begins with the ``name`` of the write that it answers.

On SQLite ``given`` is a CTE that is added to each statement. The sizes of sets are powers of two:
what is missing is filled up with rows of NULL. On PostgreSQL the statement has it as its first CTE,
``given AS (SELECT CAST(:name AS type) AS name, …)``; a set is a JSON array in its place, and leaves
out sessions that others have locked.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from operator_svc.db.sql_tokens import TOKEN, QueryError

LARGEST = 32
"""Writes in one set at most."""
GATHERING_TURNS = 2
"""Turns of the event loop from bytes that came to the write that they lead to."""
NOW = "now()"
"""The name of the moment at which a set is run."""

_HINT = re.compile(r"\s*/\*\+\s*set by :(\w+)(?:\s+sharing\s+:(\w+(?:,\s+:\w+)*))?\s*\*/")
_GIVEN = re.compile(r"\bgiven\b")
_FROM_GIVEN = re.compile(r"\bFROM given\s+(?:(?P<joined>CROSS JOIN)\b|(?=WHERE\b))")
_CTE = re.compile(r"given AS \(\s*SELECT(?P<columns>.*?)\s*\)(?=,\s+\w+ AS\b)", re.DOTALL)
_COLUMN = re.compile(r"CAST\(\$(\d+) AS (\w+)\) AS (\w+)")
_LOCK = re.compile(r"\bFOR NO KEY UPDATE\b")


async def gather() -> None:
    """Let come what is to be written together with what waits, between two groups or sets. A busy
    event loop has many writes in each of its turns; an idle one takes no time for them."""
    for _ in range(GATHERING_TURNS):
        await asyncio.sleep(0)


class SetOf(NamedTuple):
    """The rule by which writes of a query become a set."""

    key: str
    shared: frozenset[str]


def take_hint(sql: str) -> tuple[str, SetOf | None]:
    """``sql`` without its hint, and what that says."""
    if (hint := _HINT.match(sql)) is None:
        return sql, None
    shared = re.split(r",\s+:", hint[2]) if hint[2] else ()
    return sql[hint.end() :], SetOf(hint[1], frozenset(shared))


def check_given(sql: str, params: Sequence[str], set_of: SetOf) -> None:
    """Raise QueryError where a statement is not about all writes of a set."""
    if not _GIVEN.search(sql) and (own := sorted(set(params) - set_of.shared)):
        raise QueryError(f"{own} stand in a statement of a set that is not about given")


def size_for(count: int) -> int:
    """The size of the set for so many writes."""
    return 1 << (count - 1).bit_length()


def statement_for(sql: str, size: int, set_of: SetOf) -> str:
    """A statement of a set for so many writes. ``:name`` of the first is ``:name_0``, and so on;
    it stays as it is where there is one write."""
    if not _GIVEN.search(sql):
        return sql
    if size == 1:
        return _alone(sql)
    own = own_names(sql, set_of)
    names = ", ".join(f'":{name}"' for name in own)
    rows = (", ".join(f":{name}_{number}" for name in own) for number in range(size))
    rows_sql = ", ".join(f"({row})" for row in rows)
    own_sql = TOKEN.sub(lambda t: f'given.":{t["param"]}"' if t["param"] in own else t[0], sql)
    return f"WITH given ({names}) AS (VALUES {rows_sql}) {own_sql}"


def _alone(sql: str) -> str:
    """A statement of one write. ``given`` has one row then, and is left out where it can be: an
    UPDATE with FROM first collects the rows that it is to change."""
    alone = _FROM_GIVEN.sub(lambda part: "FROM" if part["joined"] else "", sql)
    return f"WITH given AS (SELECT 1) {sql}" if _GIVEN.search(alone) else alone


def own_names(sql: str, set_of: SetOf) -> list[str]:
    """The parameters that a statement about ``given`` has of each write, in the order of its
    columns."""
    return sorted({t["param"] for t in TOKEN.finditer(sql) if t["param"]} - set_of.shared)


class SetStatement(NamedTuple):
    """A statement of a set with ``?`` for its parameters: the ``own`` ones of each write, of
    which there are up to ``size``, then the ``shared`` ones.

    The driver finds a parameter by its name slower than SQLite inserts a value into a table.
    """

    sql: str
    size: int
    own: tuple[str, ...]
    shared: tuple[str, ...]

    @classmethod
    def of(cls, sql: str, size: int, set_of: SetOf) -> SetStatement:
        """The statement for so many writes; ``now()`` in it is a shared parameter, ``NOW``."""
        own = own_names(sql, set_of) if size > 1 and _GIVEN.search(sql) else []
        names = []

        def place(token: re.Match[str]) -> str:
            if not (token["param"] or token["now"]):
                return token[0]
            names.append(token["param"] or NOW)
            return "?"

        text = TOKEN.sub(place, statement_for(sql, size, set_of))
        return cls(text, size, tuple(own), tuple(names[len(own) * size :]))

    def arguments(
        self, writes: Sequence[Mapping[str, Any]], shared: Mapping[str, Any]
    ) -> list[Any]:
        """The value of each ``?``; ``shared`` has the parameters of all writes together."""
        values = [write[name] for write in writes for name in self.own]
        values += [None] * (len(self.own) * self.size - len(values))
        return values + [shared[name] for name in self.shared]


class ItemSet(NamedTuple):
    """A statement for a set on PostgreSQL: its first parameter is a JSON array of objects with
    ``fields``, the others are ``shared``, all as places in the arguments of one write."""

    sql: str
    fields: tuple[tuple[str, int], ...]
    shared: tuple[int, ...]
    key: int


def item_set(sql: str, params: Sequence[str], set_of: SetOf) -> ItemSet:
    """The statement for a set made of the one for a single write, whose ``$n`` are ``params``.

    Raises QueryError where it does not begin with ``given``.
    """
    cte = _CTE.search(sql)
    if cte is None:
        raise QueryError("a set for PostgreSQL needs given AS (SELECT CAST(:name AS type) AS …)")
    columns = _COLUMN.findall(cte["columns"])
    types = ", ".join(f"{name} {kind}" for _, kind, name in columns)
    # The comparison makes the planner expect one row, so that it uses indexes for the others.
    key = set_of.key
    items = (
        "given AS MATERIALIZED (SELECT r.*"  # noqa: S608 - text of the query files
        f" FROM json_to_recordset($1) AS r ({types})"
        f" WHERE r.{key} = r.{key} || '')"
    )
    shared = [number for number, name in enumerate(params) if name in set_of.shared]
    places = {str(number + 1): f"${place}" for place, number in enumerate(shared, 2)}
    before, after = (
        re.sub(r"\$(\d+)", lambda n: places[n[1]], part)
        for part in (sql[: cte.start()], sql[cte.end() :])
    )
    return ItemSet(
        before + items + _LOCK.sub("FOR NO KEY UPDATE SKIP LOCKED", after),
        tuple((name, int(number) - 1) for number, _, name in columns),
        tuple(shared),
        params.index(key),
    )
