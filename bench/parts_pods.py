"""Several processes on one PostgreSQL: deltas between pods, notifications, idle queries."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator

import psycopg

from bench import processes, sockets
from bench.context import Bench
from bench.http import call
from bench.parts_stream import RATE
from bench.processes import CLIENT_CORE, SERVER_CORE, Process, running
from bench.results import Figure, percentile
from bench.sockets import Socket
from tests.fakes.nats_server import NatsServer

PODS = 3
REPLIES = 100
TICK = 0.1
"""OPERATOR_TICK's default, in seconds."""
IDLE_SECONDS = 3.0
"""Seconds, thirty ticks, in which nothing may be notified."""
IDLE_SOCKETS = 1000
STORED_SESSIONS = """
INSERT INTO operator_session (session_id, epoch, user_id, source)
SELECT 'i-' || i, gen_random_uuid(), 'u', 'api' FROM generate_series(0, 99999) AS i;
ANALYZE operator_session
"""
"""The sessions of idle sockets, among a hundred times as many: those of a large deployment."""

_METRIC = re.compile(rb"^(\w+)(\{[^}]*\})? ([0-9.e+-]+)$", re.MULTILINE)


async def metrics(process: Process) -> dict[str, float]:
    """The metrics of a process, by name and labels."""
    text = await call(process, "GET", "/metrics")
    return {(name + labels).decode(): float(value) for name, labels, value in _METRIC.findall(text)}


def some_pods(bench: Bench, count: int, **environment: str) -> list[Process]:
    """So many processes on one new database, in turns on the two cores."""
    url = bench.database("postgresql")
    return [
        processes.operator(
            bench.switch, url, name=f"pod-{number}",
            core=(SERVER_CORE, CLIENT_CORE)[number % 2], **environment,
        )
        for number in range(count)
    ]  # fmt: skip


class _Readers:
    """Sockets on other pods than their session's writer."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.ends = 0
        self.ready = 0
        self.done = asyncio.Event()

    def see(self, _: Socket, frame: bytes) -> None:
        if sockets.is_delta(frame):
            now = time.monotonic()
            self.late += [now - float(sent) for sent in sockets.words_of(frame)]
        elif sockets.is_end(frame):
            self.ends += 1
            if self.ends == REPLIES:
                self.done.set()
        elif sockets.is_ready(frame):
            self.ready += 1


@contextlib.contextmanager
def _running_pods(bench: Bench, *, nats: bool) -> Iterator[list[Process]]:
    with contextlib.ExitStack() as stack:
        environment = {}
        if nats:
            server = NatsServer()
            stack.callback(server.remove)
            environment["OPERATOR_BUS_URL"] = server.url
        some = some_pods(bench, PODS, **environment)
        stack.enter_context(running(*some))
        yield some


async def pods(bench: Bench, *, nats: bool = False) -> None:
    """100 replies on three processes, each read on another pod than the one that writes it."""
    part = "pods-nats" if nats else "pods"
    tokens = 150 if bench.quick else 400
    await bench.tell_switch(mode="ok", rate=RATE)
    with _running_pods(bench, nats=nats) as some:
        readers, writers = _Readers(), _Readers()
        reading = [
            await sockets.connect(some[(n + 1) % PODS], f"p-{n}", readers.see)
            for n in range(REPLIES)
        ]
        writing = [
            await sockets.connect(some[n % PODS], f"p-{n}", writers.see) for n in range(REPLIES)
        ]
        while readers.ready + writers.ready < 2 * REPLIES:
            await asyncio.sleep(0.05)
        before, log = [await metrics(pod) for pod in some], bench.database_log()
        begun = time.monotonic()
        script = {"rate": RATE, "tokens": tokens, "stamp": True}
        for number, socket in enumerate(writing):
            socket.send({"type": "chat", "message": "Go on.", "metadata": {"standin": script}})
            if number % 10 == 9:
                await asyncio.sleep(0.1)
        await asyncio.wait_for(readers.done.wait(), tokens / RATE * 5 + 60)
        took, log = time.monotonic() - begun, bench.database_log() - log
        after = [await metrics(pod) for pod in some]
        for socket in (*reading, *writing):
            socket.close()
        bench.add(
            Figure(part=part, name="delay of a token on another process, 99th percentile",
                   value=percentile(readers.late, 0.99) * 1000, unit="ms",
                   target=30 if nats else 300),
            Figure(part=part, name="delay of a token on another process, median",
                   value=percentile(readers.late, 0.5) * 1000, unit="ms",
                   target=5 if nats else None),
            Figure(part=part, name="delay of a token on the process that writes, 99th percentile",
                   value=percentile(writers.late, 0.99) * 1000, unit="ms"),
            Figure(part=part, name=f"log of PostgreSQL of a reply of {tokens} tokens, "
                   f"{RATE:g} a second", value=log / REPLIES / 1024, unit="KiB"),
            Figure(part=part, name="tokens seen by readers on other pods",
                   value=len(readers.late), unit=""),
        )  # fmt: skip
        if not nats:
            await _count_notifications(bench, some, before, after, took / TICK)


async def _count_notifications(
    bench: Bench,
    some: list[Process],
    before: list[dict[str, float]],
    after: list[dict[str, float]],
    ticks: float,
) -> None:
    """Notifications while there were news, and while nothing happens."""
    await asyncio.sleep(2.0)  # the last news of the sockets' end is said
    quiet = [await metrics(pod) for pod in some]
    await asyncio.sleep(IDLE_SECONDS)
    still = [await metrics(pod) for pod in some]
    name = "operator_bus_notifies_total"
    bench.add(
        Figure(part="pods", name="notifications of a process in a tick, the most of three",
               value=max(grown(a, b, name) / ticks for a, b in _pairs(before, after)), unit="",
               target=1.0),
        Figure(part="pods", name=f"notifications while nothing happens ({IDLE_SECONDS:g} s)",
               value=sum(grown(a, b, name) for a, b in _pairs(quiet, still)), unit="", target=0),
    )  # fmt: skip


def _pairs(
    before: list[dict[str, float]], after: list[dict[str, float]]
) -> list[tuple[dict[str, float], dict[str, float]]]:
    return list(zip(before, after, strict=True))


def grown(before: dict[str, float], after: dict[str, float], name: str) -> float:
    return after.get(name, 0.0) - before.get(name, 0.0)


async def idle(bench: Bench) -> None:
    """A thousand idle sockets: which queries they cost, and what these cost PostgreSQL."""
    part = "idle"
    seconds = 5.0 if bench.quick else 15.0
    url = bench.database("postgresql")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(STORED_SESSIONS)
    pod = processes.operator(bench.switch, url)
    with running(pod):
        readers = _Readers()
        # Only a pod that has held its lease for its TTL (10 s) looks after others'.
        await asyncio.sleep(12.0)
        without, alone = await _queries(bench, pod, seconds)
        opened = []
        for start in range(0, IDLE_SOCKETS, 50):
            opened += await asyncio.gather(
                *[sockets.connect(pod, f"i-{n}", readers.see) for n in range(start, start + 50)]
            )
        while readers.ready < IDLE_SOCKETS:
            await asyncio.sleep(0.05)
        await asyncio.sleep(2.0)
        with_them, watched = await _queries(bench, pod, seconds)
        for socket in opened:
            socket.close()
    idle_rate = sum(without.values())
    poll = with_them.pop("session_news", 0.0)
    without.pop("session_news", None)
    bench.add(
        Figure(part=part, name="queries per second of an idle process", value=idle_rate, unit="/s"),
        Figure(part=part, name="polls a second for 1,000 idle sockets", value=poll, unit="/s",
               target=1.1),
        Figure(part=part, name="other queries a second, more than without sockets",
               value=asked_more(without, with_them, seconds), unit="/s", target=0.2),
        Figure(part=part, name="CPU time of PostgreSQL for an idle socket",
               value=(watched - alone) / IDLE_SOCKETS * 1e6, unit="µs/s"),
    )  # fmt: skip
    bench.note("without sockets: " + _listed(without) + "; with: " + _listed(with_them))


def asked_more(before: dict[str, float], after: dict[str, float], seconds: float) -> float:
    """Queries a second that are asked more often than before, of those by name that are more than
    one in ``seconds``: what is asked at intervals falls into a time once more or less."""
    more = (grown(before, after, name) - 1 / seconds for name in after)
    return sum(rate for rate in more if rate > 0)


def _listed(rates: dict[str, float]) -> str:
    return ", ".join(f"{name} {rate:.2f}/s" for name, rate in sorted(rates.items()) if rate)


async def _queries(bench: Bench, pod: Process, seconds: float) -> tuple[dict[str, float], float]:
    """Queries a second, by name, and the CPU seconds of PostgreSQL in one."""
    before, cpu, begun = await metrics(pod), bench.database_cpu(), time.monotonic()
    await asyncio.sleep(seconds)
    after, took = await metrics(pod), time.monotonic() - begun
    used = (bench.database_cpu() - cpu) / took
    prefix = 'operator_db_query_seconds_count{query="'
    rates = {
        name.removeprefix(prefix).removesuffix('"}'): rate
        for name in after
        if name.startswith(prefix) and (rate := grown(before, after, name) / took) > 0
    }
    return rates, used
