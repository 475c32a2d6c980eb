"""Streaming replies that one process holds on PostgreSQL."""

from __future__ import annotations

from typing import NamedTuple

from bench import processes
from bench.context import Bench
from bench.parts_pods import grown, metrics
from bench.parts_stream import Streamed, stream
from bench.processes import Process, running
from bench.results import Figure

RATE = 20.0
"""Tokens a second of each reply: one every 50 ms."""
COUNTS = (500, 1000, 1500, 2000, 2500, 3000, 3500, 4000)
TICK_MS = 50.0
LATE_MS = 100.0
"""Delay of a token that a person does not see."""
_WRITES = "operator_db_query_seconds_{}"
_LABELS = '{query="chunks_append"}'


class _Level(NamedTuple):
    """So many replies at once."""

    replies: int
    streamed: Streamed
    tick_ms: float
    database_cores: float

    @property
    def held(self) -> bool:
        return self.tick_ms < TICK_MS and self.streamed.late_ms < LATE_MS


async def held(bench: Bench) -> None:
    """The most replies whose text is written in less than 50 ms a tick and comes in time."""
    await bench.tell_switch(mode="ok", rate=RATE)
    operator = processes.operator(bench.switch, bench.database("postgresql"))
    levels: list[_Level] = []
    with running(operator):
        for count in COUNTS[:2] if bench.quick else COUNTS:
            try:
                levels.append(await _level(bench, operator, count))
            except TimeoutError:
                bench.note(f"{count}: the replies do not end in time")
                break
            bench.note(_described(levels[-1]))
            if not levels[-1].held:
                break
    most = max((level.replies for level in levels if level.held), default=0)
    bench.add(
        Figure(part="held", name="streaming replies that a process holds, a token every 50 ms",
               value=most, unit="", target=4_000, best="high"),
    )  # fmt: skip
    for level in levels[-2:]:
        bench.add(*_figures(level))


async def _level(bench: Bench, operator: Process, count: int) -> _Level:
    before, used = await metrics(operator), bench.database_cpu()
    tokens = round(RATE * (3 if bench.quick else 6))
    streamed = await stream(bench, operator, count, tokens, RATE)
    after, used = await metrics(operator), bench.database_cpu() - used
    seconds, ticks = (
        grown(before, after, _WRITES.format(kind) + _LABELS) for kind in ("sum", "count")
    )
    return _Level(count, streamed, seconds / ticks * 1000, used / streamed.seconds)


def _described(level: _Level) -> str:
    streamed = level.streamed
    return (
        f"{level.replies}: a tick's write {level.tick_ms:.1f} ms, 99 % of tokens within "
        f"{streamed.late_ms:.0f} ms, cores: Operator {streamed.cores:.2f}, clients and Switch "
        f"{streamed.others_cores:.2f}, PostgreSQL {level.database_cores:.2f}"
    )


def _figures(level: _Level) -> list[Figure]:
    streamed, count = level.streamed, level.replies
    shared = streamed.others_cores + level.database_cores
    found = {
        "write of a tick, mean": (level.tick_ms, "ms"),
        "delay of a token, 99th percentile": (streamed.late_ms, "ms"),
        "cores used by Operator": (streamed.cores, ""),
        "cores used by clients, Switch and PostgreSQL, which share one": (shared, ""),
    }
    return [
        Figure(part="held", name=f"{count:,} replies: {name}", value=value, unit=unit)
        for name, (value, unit) in found.items()
    ]
