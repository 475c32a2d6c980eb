"""Chats as JSON: many clients on both engines, one client's latency, and /health."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from bench import processes
from bench.context import Bench, Engine, fsync_ms, path_of
from bench.http import Load, request
from bench.processes import Process, running
from bench.results import Figure, median_figure, percentile

CLIENTS = 32
CHATS_A_SESSION = 10
"""After so many chats a client begins another session."""
MESSAGE = "Please tell me what the quick brown fox does today, and how the lazy dog takes it."

_run = itertools.count()


def chats(
    process: Process, path: str = "/operator/chat", a_session: int = CHATS_A_SESSION
) -> Callable[[int], bytes]:
    """Makes the chats of each client, so many in a session."""
    run = next(_run)
    counts: dict[int, int] = {}

    def make(client: int) -> bytes:
        number = counts[client] = counts.get(client, 0) + 1
        session = f"b{run}-{client}-{number // a_session}"
        body = msgspec.json.encode({"session_id": session, "message": MESSAGE})
        return request(process, "POST", path, body)

    return make


class Round(NamedTuple):
    """One server, asked for a while."""

    rate: float
    cpu_ms: float
    database_cpu_ms: float
    latency_ms: float
    p99_ms: float


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
        percentile(load.seconds, 0.99) * 1000,
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
        logs = [await _log_of_chats(bench, process) for process in (operator, stores)]
    bench.add(
        *relative(part, "the storing relay", ours, theirs, cpu_goal=0.90, rate_goal=0.95),
        *costs(part, {"Operator": ours, "storing relay": theirs, "bare relay": bare}),
    )
    if engine == "postgresql":
        _tell_database(bench, {"Operator": (ours, logs[0]), "storing relay": (theirs, logs[1])})


def relative(
    part: str,
    reference: str,
    ours: list[Round],
    theirs: list[Round],
    *,
    cpu_goal: float | None = None,
    rate_goal: float | None = None,
) -> Iterator[Figure]:
    """Operator's chats as a share of a reference's, round by round."""
    pairs = list(zip(ours, theirs, strict=True))
    yield median_figure(
        part, f"chats per CPU second, relative to {reference}",
        [b.cpu_ms / a.cpu_ms for a, b in pairs], "", cpu_goal, "high",
    )  # fmt: skip
    yield median_figure(
        part, f"chats per second, relative to {reference}",
        [a.rate / b.rate for a, b in pairs], "", rate_goal, "high",
    )  # fmt: skip


def costs(part: str, servers: dict[str, list[Round]]) -> Iterator[Figure]:
    """The rate of each server, and its CPU time of a chat."""
    for name, rounds in servers.items():
        yield median_figure(part, f"chats per second, {name}", [r.rate for r in rounds], "/s")
    for name, rounds in servers.items():
        yield median_figure(part, f"CPU time of a chat, {name}", [r.cpu_ms for r in rounds], "ms")


async def _log_of_chats(bench: Bench, process: Process) -> float:
    """KiB of PostgreSQL's log that a chat writes, not the first one of its session.

    After a checkpoint, so that the log has each page that they change once as a whole.
    """
    load = Load(process, CLIENTS, chats(process, a_session=1_000_000))
    await load.connect()
    await load.run_count(CLIENTS)
    bench.postgres.execute("CHECKPOINT")
    before = bench.database_log()
    await load.run_count(count := CLIENTS * 50)
    load.close()
    return (bench.database_log() - before) / count / 1024


def _tell_database(bench: Bench, servers: dict[str, tuple[list[Round], float]]) -> None:
    part = "chat-postgresql"
    for name, (rounds, log) in servers.items():
        ours = name == "Operator"
        bench.add(
            median_figure(part, f"CPU time of a chat in PostgreSQL, {name}",
                          [r.database_cpu_ms for r in rounds], "ms", 0.5 if ours else None),
            Figure(part=part, name=f"log of PostgreSQL of a chat after the first, {name}",
                   value=log, unit="KiB", target=14 if ours else None),
        )  # fmt: skip


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
    reference = "Operator without log, leases and chunks"
    bench.add(*relative(part, reference, ours, less, cpu_goal=0.85, rate_goal=0.85))
    if engine == "postgresql":
        more = [a.database_cpu_ms / b.database_cpu_ms for a, b in zip(ours, less, strict=True)]
        bench.add(median_figure(
            part, f"CPU time of a chat in PostgreSQL, relative to {reference}", more, ""
        ))  # fmt: skip


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
            part, "a chat of one client, later than by the storing relay",
            [a.latency_ms - b.latency_ms for a, b in zip(ours, theirs, strict=True)], "ms", 0.3,
        ),
        median_figure(
            part, "the same, later than by the bare relay",
            [a.latency_ms - c.latency_ms for a, c in zip(ours, bare, strict=True)], "ms",
        ),
        median_figure(part, "a chat, Operator", [r.latency_ms for r in ours], "ms"),
        median_figure(part, "a chat, storing relay", [r.latency_ms for r in theirs], "ms"),
        median_figure(part, "a chat, bare relay", [r.latency_ms for r in bare], "ms"),
        Figure(part=part, name="share of the disk in a chat (two fdatasync)", value=sum(disk),
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
            "health", "`/health` requests per CPU second, relative to a bare handler",
            [b.cpu_ms / a.cpu_ms for a, b in pairs], "", 0.70, "high",
        ),
        median_figure(
            "health", "`/health` requests per second, relative to a bare handler",
            [a.rate / b.rate for a, b in pairs], "", 0.70, "high",
        ),
        median_figure("health", "`/health` requests per second", [r.rate for r in ours], "/s"),
        median_figure("health", "requests per second, bare handler", [r.rate for r in bare], "/s"),
    )  # fmt: skip
