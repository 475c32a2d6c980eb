"""The cost of a process beside few and many others, on one PostgreSQL and one NATS.

The same number of processes works on the same machine each time: as clusters of two, as one of
eight, and as that one beside the connections of 92 more. So a cost that grows comes from the size
of the cluster, and not from a busier machine. The last two states take turns, because what else the
machine does changes what a process costs: one that waits for the CPU handles more at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import NamedTuple

import psycopg

from bench import processes, sockets
from bench.context import Bench
from bench.parts_pods import metrics
from bench.processes import CLIENT_CORE, SERVER_CORE, Process, cpu_seconds, running
from bench.results import median_figure, percentile
from bench.simulated_pods import SimulatedPods
from bench.sockets import Socket
from tests.fakes.nats_server import NatsServer

PODS, SMALL = 8, 2
LISTENERS = 92
SESSIONS = int(os.environ.get("SWARM_SESSIONS", "2000"))
"""Sessions that clients of a process watch."""
WRITERS = 15
"""Replies that a process writes at any time; each is shown to its client and on another process."""
TOKENS, RATE = 50, 10.0
GROWTH_MAX = 1.2
STORED_SESSIONS = """
INSERT INTO operator_session (session_id, epoch, user_id, source)
SELECT 's-' || i, gen_random_uuid(), 'u', 'api' FROM generate_series(0, %s) AS i
"""
SETTLE_SECONDS = 12.0
"""A process looks after others' work once it has held its lease for its TTL (10 s)."""


class Cluster:
    """Processes on one database and one server of NATS, whose clients watch sessions."""

    def __init__(self, bench: Bench, size: int) -> None:
        self.nats = NatsServer()
        self.url = bench.database("postgresql")
        self.pods = [
            processes.operator(
                bench.switch, self.url, name=f"pod-{number}",
                core=(SERVER_CORE, CLIENT_CORE)[number % 2], OPERATOR_BUS_URL=self.nats.url,
            )
            for number in range(size)
        ]  # fmt: skip
        self.late: list[float] = []
        self._ready = 0
        self._sockets: list[Socket] = []

    async def watch(self, sessions: int) -> None:
        """Have clients of each process watch so many sessions, and others write some of them."""
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            await connection.execute(STORED_SESSIONS, (len(self.pods) * sessions - 1,))
        for number, pod in enumerate(self.pods):
            names = [f"s-{number * sessions + n}" for n in range(sessions)]
            other = self.pods[(number + 1) % len(self.pods)]
            await self._open(pod, names, self._read)
            await self._open(other, names[:WRITERS], self._write)

    async def _open(
        self, pod: Process, names: list[str], see: Callable[[Socket, bytes], None]
    ) -> None:
        for start in range(0, len(names), 50):
            self._sockets += await asyncio.gather(
                *(sockets.connect(pod, name, see) for name in names[start : start + 50])
            )
        while self._ready < len(self._sockets):
            await asyncio.sleep(0.05)

    def _read(self, _: Socket, frame: bytes) -> None:
        if sockets.is_delta(frame):
            now = time.monotonic()
            self.late += [now - float(sent) for sent in sockets.words_of(frame)]
        elif sockets.is_ready(frame):
            self._ready += 1

    def _write(self, socket: Socket, frame: bytes) -> None:
        """Ask for the next reply as soon as one has ended."""
        if sockets.is_ready(frame):
            self._ready += 1
        if sockets.is_ready(frame) or sockets.is_end(frame):
            script = {"rate": RATE, "tokens": TOKENS, "stamp": True}
            socket.send({"type": "chat", "message": "Go on.", "metadata": {"standin": script}})

    def close(self) -> None:
        """Cut all clients, and end NATS."""
        for socket in self._sockets:
            socket.close()
        self.nats.remove()


class Cost(NamedTuple):
    """CPU times, queries and notifications of a process in a second, and its clients' delay."""

    cpu: float
    queries: float
    notifications: float
    database_cpu: float
    nats_cpu: float
    delay: float = 0.0
    slowest: float = 0.0


NAMES = {
    "cpu": ("CPU of a process", "ms/s"),
    "queries": ("queries of a process", "/s"),
    "notifications": ("notifications of a process", "/s"),
    "database_cpu": ("CPU of PostgreSQL for a process", "ms/s"),
    "nats_cpu": ("CPU of NATS for a process", "ms/s"),
}
"""Costs that must not grow with the cluster, with their names and units."""


async def _counts(bench: Bench, clusters: list[Cluster], others: SimulatedPods | None) -> Cost:
    pods = [pod for cluster in clusters for pod in cluster.pods]
    told = [await metrics(pod) for pod in pods]
    queries = sum(
        value
        for one in told
        for name, value in one.items()
        if name.startswith("operator_db_query_seconds_count")
    )
    return Cost(
        cpu=sum(pod.cpu() for pod in pods) * 1000,
        queries=queries,
        notifications=sum(one["operator_bus_notifies_total"] for one in told),
        database_cpu=(bench.database_cpu() - (others.database_cpu() if others else 0.0)) * 1000,
        nats_cpu=sum(cpu_seconds(cluster.nats.pid) for cluster in clusters) * 1000,
    )


async def _cost(
    bench: Bench, clusters: list[Cluster], seconds: float, others: SimulatedPods | None
) -> Cost:
    for cluster in clusters:
        cluster.late.clear()
    before, begun = await _counts(bench, clusters, others), time.monotonic()
    await asyncio.sleep(seconds)
    after, took = await _counts(bench, clusters, others), time.monotonic() - begun
    late = [one for cluster in clusters for one in cluster.late]
    grown = Cost(*((b - a) / took / PODS for a, b in zip(before, after, strict=True)))
    return grown._replace(delay=percentile(late, 0.5), slowest=percentile(late, 0.99))


@asynccontextmanager
async def _clusters(bench: Bench, size: int) -> AsyncIterator[list[Cluster]]:
    with ExitStack() as stack:
        some = []
        for _ in range(PODS // size):
            some.append(Cluster(bench, size))
            stack.callback(some[-1].close)
        stack.enter_context(running(*(pod for cluster in some for pod in cluster.pods)))
        for cluster in some:
            await cluster.watch(200 if bench.quick else SESSIONS)
        await asyncio.sleep(SETTLE_SECONDS)
        yield some


async def swarm(bench: Bench) -> None:
    """Eight processes in clusters of two, in one, and in that one with and without 92 more."""
    seconds = 5.0 if bench.quick else 20.0
    sessions = 200 if bench.quick else SESSIONS
    await bench.tell_switch(mode="ok")
    async with _clusters(bench, SMALL) as small:
        few = [await _cost(bench, small, seconds, None) for _ in bench.rounds(3)]
    alone, many = [], []
    async with _clusters(bench, PODS) as (one,):
        for _ in bench.rounds(3):
            alone.append(await _cost(bench, [one], seconds, None))
            others = SimulatedPods(one.url, one.nats.url, LISTENERS, sessions)
            async with others:
                await asyncio.sleep(SETTLE_SECONDS)
                many.append(await _cost(bench, [one], seconds, others))
            bench.note(f"the {LISTENERS} others were sent {others.received} messages")
    _report(bench, {"clusters of 2": few, "one of 8": alone, "one beside 92 more": many})


def _report(bench: Bench, states: dict[str, list[Cost]]) -> None:
    """Compare each state with the one before it."""
    for field, (name, unit) in NAMES.items():
        values = {state: [getattr(cost, field) for cost in states[state]] for state in states}
        bench.add(*(median_figure("swarm", f"{name}, {state}", values[state], unit)
                    for state in states))  # fmt: skip
        for before, state in itertools.pairwise(states):
            ratios = [b / a for a, b in zip(values[before], values[state], strict=True)]
            bench.add(median_figure("swarm", f"{name}, {state}, against {before}", ratios, "",
                                    target=GROWTH_MAX))  # fmt: skip
    for state, costs in states.items():
        bench.add(
            median_figure("swarm", f"a token on another process, median, {state}",
                          [cost.delay * 1000 for cost in costs], "ms"),
            median_figure("swarm", f"the same, 99th percentile, {state}",
                          [cost.slowest * 1000 for cost in costs], "ms"),
        )  # fmt: skip
