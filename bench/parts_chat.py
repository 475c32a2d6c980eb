"""Chats as JSON: many clients on both engines, one client's latency, and /health."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from bench import processes
from bench.context import Bench, Engine, fsync_ms, path_of
from bench.http import Load, request
from bench.processes import Process, running
from bench.results import Figure, median_figure

CLIENTS = 32
CHATS_A_SESSION = 10
"""After so many chats a client begins another session."""
MESSAGE = "Please tell me what the quick brown fox does today, and how the lazy dog takes it."

_run = itertools.count()


def chats(process: Process) -> Callable[[int], bytes]:
    """Makes the chats of each client, in sessions of ten."""
    run = next(_run)
    counts: dict[int, int] = {}

    def make(client: int) -> bytes:
        number = counts[client] = counts.get(client, 0) + 1
        session = f"b{run}-{client}-{number // CHATS_A_SESSION}"
        body = msgspec.json.encode({"session_id": session, "message": MESSAGE})
        return request(process, "POST", "/operator/chat", body)

    return make


class Round(NamedTuple):
    """One server, asked for a while."""

    rate: float
    cpu_ms: float
    database_cpu_ms: float
    latency_ms: float


async def measure(bench: Bench, load: Load, seconds: float) -> Round:
    """Ask for so many seconds."""
    cpu, database = load.process.cpu(), bench.database_cpu()
    took = await load.run(seconds)
    count = len(load.seconds)
    return Round(
        count / took,
        (load.process.cpu() - cpu) / count * 1000,
        (bench.database_cpu() - database) / count * 1000,
        statistics.median(load.seconds) * 1000,
    )


async def interleave(
    bench: Bench, loads: Sequence[Load], rounds: int, seconds: float
) -> list[list[Round]]:
    """Ask each server in turn, in another order each time; the rounds of each."""
    measured: list[list[Round]] = [[] for _ in loads]
    for load in loads:
        await load.connect()
        await load.run(0.5)
    for number in bench.rounds(rounds):
        order = list(range(len(loads)))
        for index in order if number % 2 else reversed(order):
            measured[index].append(await measure(bench, loads[index], seconds))
            await asyncio.sleep(0.1)
    for load in loads:
        load.close()
    return measured


async def chat(bench: Bench, engine: Engine) -> None:
    """32 clients: Operator, the relay that stores by the bare driver, and the bare relay."""
    part = f"chat-{engine}"
    await bench.tell_switch(mode="json")
    switch = bench.switch
    operator = processes.operator(switch, bench.database(engine))
    stores = processes.reference(switch, engine, path_of(bench.database(engine)))
    relay = processes.reference(switch, "relay")
    with running(operator, stores, relay):
        loads = [Load(p, CLIENTS, chats(p)) for p in (operator, stores, relay)]
        ours, theirs, bare = await interleave(bench, loads, 7, 1.0 if bench.quick else 1.6)
    pairs = list(zip(ours, theirs, strict=True))
    bench.add(
        median_figure(
            part,
            "chats for the same CPU, of the relay that stores",
            [b.cpu_ms / a.cpu_ms for a, b in pairs],
            "",
            0.70,
            "high",
        ),
        median_figure(
            part, "chats/s, of the relay that stores", [a.rate / b.rate for a, b in pairs], "",
            0.70, "high",
        ),
        median_figure(part, "chats/s, Operator", [r.rate for r in ours], "/s"),
        median_figure(part, "chats/s, relay that stores", [r.rate for r in theirs], "/s"),
        median_figure(part, "chats/s, bare relay", [r.rate for r in bare], "/s"),
        median_figure(part, "CPU of a chat, Operator", [r.cpu_ms for r in ours], "ms"),
        median_figure(part, "CPU of a chat, relay that stores", [r.cpu_ms for r in theirs], "ms"),
        median_figure(part, "CPU of a chat, bare relay", [r.cpu_ms for r in bare], "ms"),
    )  # fmt: skip
    if engine == "postgresql":
        for name, rounds in (("Operator", ours), ("relay that stores", theirs)):
            values = [r.database_cpu_ms for r in rounds]
            bench.add(median_figure(part, f"CPU of a chat in PostgreSQL, {name}", values, "ms"))


async def log_cost(bench: Bench, engine: Engine) -> None:
    """The cost of the event log, the leases and the chunks of text together."""
    part = f"log-cost-{engine}"
    await bench.tell_switch(mode="json")
    whole = processes.operator(bench.switch, bench.database(engine))
    without = processes.operator(
        bench.switch, bench.database(engine), module=("-m", "bench.without_log"), name="without"
    )
    with running(whole, without):
        loads = [Load(p, CLIENTS, chats(p)) for p in (whole, without)]
        ours, less = await interleave(bench, loads, 9, 1.0 if bench.quick else 1.5)
    pairs = list(zip(ours, less, strict=True))
    bench.add(
        median_figure(
            part, "chats for the same CPU, of Operator without log, leases and chunks",
            [b.cpu_ms / a.cpu_ms for a, b in pairs], "", 0.85, "high",
        ),
        median_figure(
            part, "chats/s, of the same", [a.rate / b.rate for a, b in pairs], "", 0.85, "high"
        ),
    )  # fmt: skip
    if engine == "postgresql":
        more = [a.database_cpu_ms / b.database_cpu_ms for a, b in pairs]
        bench.add(median_figure(part, "CPU of a chat in PostgreSQL, of the same", more, "times"))


async def latency(bench: Bench) -> None:
    """One client on SQLite: what Operator adds to the bare relay's time for a chat."""
    part = "latency"
    await bench.tell_switch(mode="json")
    switch = bench.switch
    operator = processes.operator(switch, bench.database("sqlite"))
    stores = processes.reference(switch, "sqlite", path_of(bench.database("sqlite")))
    relay = processes.reference(switch, "relay")
    with running(operator, stores, relay):
        loads = [Load(p, 1, chats(p)) for p in (operator, stores, relay)]
        disk = [fsync_ms(bench.folder)]
        ours, theirs, bare = await interleave(bench, loads, 15, 0.5)
        disk.append(fsync_ms(bench.folder))
    bench.add(
        median_figure(
            part,
            "one client on SQLite: more than the bare relay",
            [a.latency_ms - c.latency_ms for a, c in zip(ours, bare, strict=True)],
            "ms",
            0.6,
        ),
        median_figure(
            part,
            "the relay that stores: more than the bare relay",
            [b.latency_ms - c.latency_ms for b, c in zip(theirs, bare, strict=True)],
            "ms",
        ),
        median_figure(part, "a chat, Operator", [r.latency_ms for r in ours], "ms"),
        median_figure(part, "a chat, bare relay", [r.latency_ms for r in bare], "ms"),
        Figure(part=part, name="of which the disk takes (two fdatasync)", value=sum(disk),
               unit="ms"),
    )  # fmt: skip


async def health(bench: Bench) -> None:
    """GET /health beside a handler of aiohttp with nothing around it."""
    operator = processes.operator(bench.switch, bench.database("sqlite"))
    relay = processes.reference(bench.switch, "relay")
    with running(operator, relay):
        loads = [
            Load(p, CLIENTS, lambda _, p=p: request(p, "GET", "/health"))  # type: ignore[misc]
            for p in (operator, relay)
        ]
        ours, bare = await interleave(bench, loads, 9, 0.8)
    pairs = list(zip(ours, bare, strict=True))
    bench.add(
        median_figure(
            "health", "/health for the same CPU, of a bare handler",
            [b.cpu_ms / a.cpu_ms for a, b in pairs], "", 0.70, "high",
        ),
        median_figure(
            "health", "/health a second, of a bare handler",
            [a.rate / b.rate for a, b in pairs], "", 0.70, "high",
        ),
        median_figure("health", "/health a second", [r.rate for r in ours], "/s"),
        median_figure("health", "bare handler a second", [r.rate for r in bare], "/s"),
    )  # fmt: skip
