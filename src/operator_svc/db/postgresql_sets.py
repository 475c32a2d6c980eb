"""Sets of writes on PostgreSQL: what comes while others are being written becomes the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias

import structlog

from operator_svc.db.postgresql_plans import Plan
from operator_svc.db.query_sets import LARGEST, ItemSet, gather
from operator_svc.errors import OperatorError

log = structlog.get_logger(__name__)

AT_ONCE = 2
"""Sets of one kind that are written at the same time: while one is being committed, the next one
runs."""
PATIENCE = 0.05
"""Seconds after which one more set may be written beside those that take so long."""
CHARACTERS = 1_000_000
"""Length of the texts of a set from which on no further write joins it."""

Run: TypeAlias = Callable[[str, list[Any]], Awaitable[list[Any]]]
Own: TypeAlias = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class _Waiting(NamedTuple):
    args: list[Any]
    future: asyncio.Future[list[Any]]


class _Line:
    """Writes of one kind that wait, and how many tasks write them."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.tasks = 0


class Sets:
    """Collects writes and runs them by ``run``, in tasks that ``own`` begins."""

    def __init__(self, run: Run, own: Own) -> None:
        self._run = run
        self._own = own
        self._lines: dict[Hashable, _Line] = {}

    async def write(self, plan: Plan, items: ItemSet, args: list[Any]) -> list[Any]:
        """The rows of a write, which runs to its end whether the caller waits for it or not.

        What comes while ``AT_ONCE`` of its kind are written, and right after that, is the next.
        """
        kind = (plan.name, *(args[place] for place in items.shared))
        line = self._lines.setdefault(kind, _Line())
        one = _Waiting(args, asyncio.get_running_loop().create_future())
        line.waiting.append(one)
        self._begin(plan, items, kind, line)
        return await one.future

    def _begin(self, plan: Plan, items: ItemSet, kind: Hashable, line: _Line) -> None:
        if line.waiting and line.tasks < AT_ONCE:
            line.tasks += 1
            self._own(self._write_line(plan, items, kind, line), plan.name)

    async def _write_line(self, plan: Plan, items: ItemSet, kind: Hashable, line: _Line) -> None:
        """Write what waits until there is nothing. One that takes long, such as a write that waits
        for its session, gives its place up: nobody waits for it."""
        loop = asyncio.get_running_loop()
        placed = True

        def give_up_place() -> None:
            nonlocal placed
            placed = False
            line.tasks -= 1
            self._begin(plan, items, kind, line)

        await gather()
        while placed and line.waiting:
            taken = _take(line.waiting, items)
            clock = loop.call_later(PATIENCE, give_up_place)
            if len(taken) == 1:
                await self._write_alone(plan, taken[0])
            else:
                await self._write_set(plan, items, taken)
            clock.cancel()
            await gather()
        if placed:
            line.tasks -= 1
        if not line.tasks and not line.waiting and self._lines.get(kind) is line:
            del self._lines[kind]

    async def _write_set(self, plan: Plan, items: ItemSet, taken: Sequence[_Waiting]) -> None:
        """Write a set. Each one without a row, and all of a set that was undone, are written
        again alone, in tasks of their own: one that waits for its session holds nobody up."""
        objects = [{name: one.args[place] for name, place in items.fields} for one in taken]
        try:
            rows = await self._run(
                items.sql, [objects, *(taken[0].args[place] for place in items.shared)]
            )
        except OperatorError as error:  # it may have been written: nobody may try it again
            for one in taken:
                _fail(plan, one, error)
            return
        except Exception as error:
            log.debug("a set was undone", query=plan.name, error=repr(error))
            rows = []
        by_key = {row[0]: [row] for row in rows}
        for one in taken:
            found = by_key.get(one.args[items.key])
            if found is None:
                self._own(self._write_alone(plan, one), plan.name)
            elif not one.future.done():
                one.future.set_result(found)

    async def _write_alone(self, plan: Plan, one: _Waiting) -> None:
        try:
            rows = await self._run(plan.sql, one.args)
        except Exception as error:  # it goes to the one who waits
            _fail(plan, one, error)
            return
        if not one.future.done():
            one.future.set_result(rows)


def _take(waiting: deque[_Waiting], items: ItemSet) -> list[_Waiting]:
    """The next set, with no two writes of one key: a further one waits for the next set."""
    taken: dict[Any, _Waiting] = {}
    left: list[_Waiting] = []
    length = 0
    while waiting and len(taken) < LARGEST and length < CHARACTERS:
        one = waiting.popleft()
        if one.args[items.key] in taken:
            left.append(one)
            continue
        taken[one.args[items.key]] = one
        length += sum(len(value) for value in one.args if isinstance(value, str))
    waiting.extendleft(reversed(left))
    return list(taken.values())


def _fail(plan: Plan, one: _Waiting, error: Exception) -> None:
    if not one.future.done():
        one.future.set_exception(error)
        return
    log.warning("a write failed after its caller had gone", query=plan.name, error=error)
