"""Two workers behind one port, relative to one process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

from bench import processes
from bench.context import Bench
from bench.http import Load
from bench.parts_chat import CLIENTS, chats, interleave
from bench.processes import CLIENT_CORE, SERVER_CORE, Process, family, running
from bench.results import Figure, median_figure

WORKERS = 2


async def workers(bench: Bench) -> None:
    """Chats of two workers and of one, on one core, and on two that all others use as well.

    Two free cores would need a third for the clients, Switch and PostgreSQL. On one core the
    workers show what sharing a port, a database and the events of sessions costs them; on two
    cores they share one with everything else.
    """
    await bench.tell_switch(mode="json")
    for cores in (1, 2):
        one = processes.operator(bench.switch, bench.database("postgresql"), name="one")
        two = processes.operator(
            bench.switch,
            bench.database("postgresql"),
            module=("-m", "operator_svc", "serve", "--workers", str(WORKERS)),
            name="two",
        )
        with running(one, two):
            await _all_ready(two)
            if cores == 2:
                for pid in family(two.pid):
                    os.sched_setaffinity(pid, {SERVER_CORE, CLIENT_CORE})
            loads = [Load(process, CLIENTS, chats(process)) for process in (two, one)]
            ours, single = await interleave(bench, loads, 7, 1.0 if bench.quick else 1.6)
        pairs = list(zip(ours, single, strict=True))
        bench.add(*_figures(cores, [a.rate / b.rate for a, b in pairs],
                            [a.cpu_ms / b.cpu_ms for a, b in pairs]))  # fmt: skip


async def _all_ready(process: Process) -> None:
    async with asyncio.timeout(processes.START_SECONDS):
        while process.said().count(b'"ready"') < WORKERS:
            await asyncio.sleep(0.05)


def _figures(cores: int, rates: list[float], costs: list[float]) -> Iterator[Figure]:
    where = "one core" if cores == 1 else "two cores that clients, Switch and PostgreSQL use too"
    yield median_figure(
        "workers", f"chats per second of two workers, relative to one: {where}",
        rates, "", 0.9 if cores == 1 else 1.8, "high",
    )  # fmt: skip
    yield median_figure(
        "workers", f"CPU time of a chat, two workers relative to one: {where}", costs, ""
    )
