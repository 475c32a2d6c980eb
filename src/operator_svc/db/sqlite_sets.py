"""Sets within a group of writes on SQLite: what its writer's thread runs at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from operator_svc.db.query_sets import LARGEST
from operator_svc.db.sqlite_plans import QueryCall
from operator_svc.db.sqlite_units import SqliteConnection


class Write(NamedTuple):
    """A write that waits for the writer's thread, and the future of the one who waits for it;
    ``call`` is the query that ``run`` runs, if it is one."""

    run: Callable[[SqliteConnection], Any]
    future: asyncio.Future[Any]
    call: QueryCall[Any] | None = None


class _Set(NamedTuple):
    kind: Hashable
    writes: dict[int, Write]
    """By their place in the group."""


def run_group(raw: SqliteConnection, group: Sequence[Write]) -> list[Any]:
    """Run all writes of ``group``; the rows of each. Raises what one of them raises."""
    outcomes: list[Any] = [None] * len(group)
    for _, writes in _sets(group):
        calls = [write.call for write in writes.values() if write.call is not None]
        if len(calls) > 1:
            plan, read, _ = calls[0]
            found: list[Any] = plan.run_set(raw, read, [call.params for call in calls])
        else:
            found = [write.run(raw) for write in writes.values()]
        for place, rows in zip(writes, found, strict=True):
            outcomes[place] = rows
    return outcomes


def _sets(group: Sequence[Write]) -> list[_Set]:
    """The sets of a group. No write overtakes another one of its key, nor one that is of no
    kind, for that may be about anything."""
    sets: list[_Set] = []
    latest: dict[Any, int] = {}
    begin = 0
    for place, write in enumerate(group):
        kind = write.call.kind if write.call is not None else None
        if write.call is None or kind is None:
            sets.append(_Set(None, {place: write}))
            begin = len(sets)
            continue
        number = max(begin, latest.get(write.call.key, -1) + 1)
        while number < len(sets) and not _may_join(kind, sets[number]):
            number += 1
        if number == len(sets):
            sets.append(_Set(kind, {}))
        sets[number].writes[place] = write
        latest[write.call.key] = number
    return sets


def _may_join(kind: Hashable, one: _Set) -> bool:
    return one.kind == kind and len(one.writes) < LARGEST
