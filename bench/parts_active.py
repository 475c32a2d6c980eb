"""Many running replies of one process, shown by another: delays and cost as their number grows."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import NamedTuple

from bench import sockets
from bench.context import Bench
from bench.parts_pods import metrics, some_pods
from bench.processes import Process, running
from bench.results import Figure, percentile
from bench.sockets import Socket
from tests.fakes.nats_server import NatsServer

COUNTS = (100, 500, 1000)
"""Sessions with a running reply."""
RATE = 2.0
"""Tokens a second of each: what is measured is the number of sessions, not of tokens."""
BEGUN_A_SECOND = 50
GROWTH_MAX = 1.2
NOTIFIED = "operator_bus_notifies_total"


class Active(NamedTuple):
    """CPU times of a token in seconds, notifications of a second, and delays in seconds."""

    writer: float
    reader: float
    notifications: float
    late: list[float]


async def active(bench: Bench, *, nats: bool = False) -> None:
    """100, 500 and 1,000 sessions with a running reply, on two processes."""
    part = "active-nats" if nats else "active"
    await bench.tell_switch(mode="ok")
    costs = []
    for count in COUNTS:
        one = await _run(bench, count, 5.0 if bench.quick else 20.0, nats=nats)
        costs.append(one.writer + one.reader)
        bench.add(
            Figure(part=part, name=f"a token on another process, median, {count} sessions",
                   value=percentile(one.late, 0.5) * 1000, unit="ms"),
            Figure(part=part, name="the same, 99th percentile",
                   value=percentile(one.late, 0.99) * 1000, unit="ms", target=300),
            Figure(part=part, name=f"CPU of the writing process for a token, {count} sessions",
                   value=one.writer * 1e6, unit="µs"),
            Figure(part=part, name="CPU of the reading process for a token",
                   value=one.reader * 1e6, unit="µs"),
            Figure(part=part, name="notifications of the writing process",
                   value=one.notifications, unit="/s"),
        )  # fmt: skip
    bench.add(
        Figure(part=part, name="CPU for a token among 1,000 sessions against 100",
               value=costs[-1] / costs[0], unit="", target=GROWTH_MAX)
    )  # fmt: skip


async def _run(bench: Bench, count: int, seconds: float, *, nats: bool) -> Active:
    with ExitStack() as stack:
        environment = {}
        if nats:
            server = NatsServer()
            stack.callback(server.remove)
            environment["OPERATOR_BUS_URL"] = server.url
        writer, reader = pods = some_pods(bench, 2, **environment)
        stack.enter_context(running(*pods))
        late: list[float] = []
        opened = await _begin(writer, reader, count, seconds, late)
        for socket in opened:
            stack.callback(socket.close)
        await asyncio.sleep(2.0)  # the last replies begin
        late.clear()
        cpu, before, begun = [pod.cpu() for pod in pods], await metrics(writer), time.monotonic()
        await asyncio.sleep(seconds)
        took, after = time.monotonic() - begun, await metrics(writer)
        return Active(
            writer=(writer.cpu() - cpu[0]) / len(late),
            reader=(reader.cpu() - cpu[1]) / len(late),
            notifications=(after[NOTIFIED] - before[NOTIFIED]) / took,
            late=list(late),
        )


async def _begin(
    writer: Process, reader: Process, count: int, seconds: float, late: list[float]
) -> list[Socket]:
    """Sockets of as many replies on both processes; the replies outlast what is measured."""

    def see(_: Socket, frame: bytes) -> None:
        if sockets.is_delta(frame):
            now = time.monotonic()
            late.extend(now - float(sent) for sent in sockets.words_of(frame))

    lasting = count / BEGUN_A_SECOND + 2.0 + seconds + 10.0
    script = {"rate": RATE, "tokens": int(lasting * RATE), "stamp": True}
    chat = {"type": "chat", "message": "Go on.", "metadata": {"standin": script}}
    opened = []
    for number in range(count):
        opened.append(await sockets.connect(reader, f"a-{number}", see))
        opened.append(await sockets.connect(writer, f"a-{number}", lambda *_: None))
        opened[-1].send(chat)
        await asyncio.sleep(1 / BEGUN_A_SECOND)
    return opened
