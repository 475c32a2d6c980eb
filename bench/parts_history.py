"""History, memory: what grows, and what must not."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable

from bench import processes, seed, sockets
from bench.context import Bench, Engine
from bench.http import Load, call, request
from bench.parts_chat import CLIENTS, Round, chats, interleave
from bench.processes import Process, running
from bench.results import Figure, median_figure

KIB, MIB = 1024, 1024**2
SOCKETS = 1000
SETTLE = 1.0
"""Seconds in which a process comes to rest: what it does once is no part of its level."""


async def history(bench: Bench, engine: Engine) -> None:
    """The history of 200 messages, in small tables and in large ones."""
    large = 100_000 if bench.quick else 1_000_000
    operators = []
    for messages in (10_000, large):
        url = bench.database(engine)
        await asyncio.to_thread(seed.fill, bench, engine, url, messages)
        operators.append(processes.operator(bench.switch, url, name=f"operator-{messages}"))
    with running(*operators):
        for operator in operators:
            page = await call(operator, "GET", f"/operator/session/{seed.TARGET}0")
            assert len(page["messages"]) == seed.TARGET_MESSAGES
        loads = [Load(p, 1, _history(p)) for p in operators]
        small, big = await interleave(bench, loads, 11, 0.5)
    _tell(bench, engine, small, big, large)


def _history(process: Process) -> Callable[[int], bytes]:
    wanted = request(process, "GET", f"/operator/session/{seed.TARGET}0")
    return lambda _: wanted


def _tell(bench: Bench, engine: Engine, small: list[Round], big: list[Round], large: int) -> None:
    part = f"history-{engine}"
    bench.add(
        median_figure(
            part, f"history of 200 messages, 10,000 in the table, {engine}",
            [r.latency_ms for r in small], "ms", 2.0,
        ),
        median_figure(
            part, f"the same, {large:,} in the table", [r.latency_ms for r in big], "ms", 2.0
        ),
        median_figure(
            part, "the same, relative to 10,000",
            [b.latency_ms / a.latency_ms for a, b in zip(small, big, strict=True)], "", 1.3,
        ),
        median_figure(part, "CPU time of a history", [r.cpu_ms for r in big], "ms"),
    )  # fmt: skip


async def memory(bench: Bench) -> None:
    """Memory at the start, of idle sockets, and after many chats."""
    part = "memory"
    await bench.tell_switch(mode="json")
    operator = processes.operator(bench.switch, bench.database("sqlite"))
    relay = processes.reference(bench.switch, "relay")
    with running(operator, relay):
        await asyncio.sleep(SETTLE)
        start = operator.rss()
        ours, bare = [await _of_sockets(p) for p in (operator, relay)]
        bench.add(
            Figure(part=part, name="memory at start", value=start / MIB, unit="MiB",
                   target=55),
            Figure(part=part, name="memory of an idle socket, Operator", value=ours, unit="KiB",
                   target=16),
            Figure(part=part, name="memory of an idle socket, bare aiohttp", value=bare,
                   unit="KiB"),
        )  # fmt: skip
    operator = processes.operator(bench.switch, bench.database("sqlite"))
    with running(operator):
        load = Load(operator, CLIENTS, chats(operator))
        await load.connect()
        await load.run_count(1000)
        first = operator.rss()
        most = 3_000 if bench.quick else 10_000
        await load.run_count(most - 1000)
        last = operator.rss()
        load.close()
    bench.add(
        Figure(part=part, name=f"memory after {most:,} chats, relative to 1,000",
               value=last / first, unit="", target=1.10),
        Figure(part=part, name=f"memory after {most:,} chats", value=last / MIB, unit="MiB"),
    )  # fmt: skip


async def memory_long(bench: Bench) -> None:
    """Memory over an hour's worth of chats, after a warm-up of a tenth of them."""
    await bench.tell_switch(mode="json")
    operator = processes.operator(bench.switch, bench.database("sqlite"))
    step = 1_000 if bench.quick else 10_000
    sizes: list[float] = []
    with running(operator):
        load = Load(operator, CLIENTS, chats(operator))
        await load.connect()
        for _ in range(10):
            await load.run_count(step)
            sizes.append(operator.rss() / MIB)
            bench.note(f"{step * len(sizes):,} chats: {sizes[-1]:.1f} MiB")
        load.close()
    bench.add(
        Figure(part="memory-long", value=max(sizes[1:]) / sizes[0], unit="", target=1.10,
               name=f"peak memory up to {10 * step:,} chats, relative to {step:,}"),
    )  # fmt: skip


async def _of_sockets(process: Process) -> float:
    """KiB of each idle socket."""
    ready = 0

    def see(_: sockets.Socket, frame: bytes) -> None:
        nonlocal ready
        ready += sockets.is_ready(frame)

    warm = [await sockets.connect(process, f"warm-{n}", see) for n in range(20)]
    await asyncio.sleep(SETTLE)
    before = process.rss()
    opened = []
    for start in range(0, SOCKETS, 50):
        opened += await asyncio.gather(
            *[sockets.connect(process, f"idle-{n}", see) for n in range(start, start + 50)]
        )
    while ready < SOCKETS + len(warm):
        await asyncio.sleep(0.05)
    await asyncio.sleep(SETTLE)
    samples = []
    for _ in range(5):
        samples.append(process.rss())
        await asyncio.sleep(0.1)
    for socket in (*opened, *warm):
        socket.close()
    await asyncio.sleep(SETTLE)
    return (statistics.median(samples) - before) / SOCKETS / KIB
