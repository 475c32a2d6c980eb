"""Sets: writes of one query that wait at the same time and are run as one.

The hint ``/*+ set by :name sharing :other, … */`` before a query allows it. Its SQL then is about
all rows of ``given``, which has one for each write: ``:parameter`` is what that write gave. What
the writes have to share is the same in all of them, and a set has one write for each ``:name``.
A row that comes back begins with the ``name`` of the write that it answers.

The sizes of sets are powers of two: what is missing is filled up with rows of NULL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from operator_svc.db.sql_tokens import TOKEN, QueryError

LARGEST = 32
"""Writes in one set at most."""

_HINT = re.compile(r"\s*/\*\+\s*set by :(\w+)(?:\s+sharing\s+:(\w+(?:,\s+:\w+)*))?\s*\*/")
_GIVEN = re.compile(r"\bgiven\b")


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
        return f"WITH given AS (SELECT 1) {sql}"
    own = {t["param"] for t in TOKEN.finditer(sql) if t["param"]} - set_of.shared
    names = ", ".join(f'":{name}"' for name in sorted(own))
    rows = (", ".join(f":{name}_{number}" for name in sorted(own)) for number in range(size))
    rows_sql = ", ".join(f"({row})" for row in rows)
    own_sql = TOKEN.sub(lambda t: f'given.":{t["param"]}"' if t["param"] in own else t[0], sql)
    return f"WITH given ({names}) AS (VALUES {rows_sql}) {own_sql}"


def params_for(writes: Sequence[Mapping[str, Any]], size: int, set_of: SetOf) -> dict[str, Any]:
    """The parameters of a set's statements."""
    if size == 1:
        return dict(writes[0])
    given = {name: writes[0][name] for name in set_of.shared}
    for number, write in enumerate(writes):
        given |= {f"{name}_{number}": value for name, value in write.items()}
    for number in range(len(writes), size):
        given |= {f"{name}_{number}": None for name in writes[0]}
    return given
