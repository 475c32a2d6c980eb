"""CPU time that a message costs NATS, its sender and its receiver."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, aclosing

from bench.context import Bench
from bench.processes import cpu_seconds
from bench.results import Figure
from operator_svc.bus.nats_connection import NatsConnection
from operator_svc.settings import Settings
from tests.fakes.eventually import eventually
from tests.fakes.nats_server import NatsServer

SUBJECTS = 2000
"""Subjects that the receiver has subscribed to."""
SIZE = 120
"""Bytes of a message: a piece of some words with its session, reply and offset."""
BURST = 500
"""Messages that are sent at a turn of the loop."""


async def nats(bench: Bench) -> None:
    """Messages to one receiver, as many as it takes, and then to nobody."""
    count = 20_000 if bench.quick else 200_000
    with ExitStack() as stack:
        server = NatsServer()
        stack.callback(server.remove)
        received = 0

        def receive(_: bytes) -> None:
            nonlocal received
            received += 1

        settings = Settings(bus_url=server.url)
        sender = NatsConnection(settings, lambda _: None, lambda: None)
        receiver = NatsConnection(settings, receive, lambda: None)
        async with aclosing(sender), aclosing(receiver):
            for number in range(SUBJECTS):
                receiver.subscribe(f"heard.{number}")
            sender.start()
            receiver.start()
            await eventually(lambda: sender.is_open and receiver.is_open)
            for name in ("heard", "unheard"):
                own, its = time.process_time(), cpu_seconds(server.pid)
                for _ in range(count // BURST):
                    before = received
                    for number in range(BURST - 1):
                        assert sender.send(f"{name}.{number % SUBJECTS}", b"x" * SIZE)
                    assert sender.send("heard.0", b"the last one")
                    wanted = before + (BURST if name == "heard" else 1)
                    while received < wanted:
                        await asyncio.sleep(0)
                own, its = time.process_time() - own, cpu_seconds(server.pid) - its
                who = "sent and received" if name == "heard" else "sent that nobody hears"
                bench.add(
                    Figure(part="nats", name=f"CPU time of the processes for a message {who}",
                           value=own / count * 1e6, unit="µs"),
                    Figure(part="nats", name=f"CPU time of NATS for a message {who}",
                           value=its / count * 1e6, unit="µs"),
                )  # fmt: skip
