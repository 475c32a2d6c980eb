"""Streams: Switch's tokens to websockets, one session each, or all on one."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

from bench import processes, sockets
from bench.context import Bench
from bench.processes import Process, running
from bench.results import Figure, median_figure, percentile
from bench.sockets import Socket

RATE = 50.0
"""Tokens a second of each reply: one every 20 ms."""
MESSAGE = "Please tell me a story of the quick brown fox."

_run = itertools.count()


class Frames:
    """Counts of what the sockets of a round have received."""

    def __init__(self) -> None:
        self.frames = 0
        self.ends = 0
        self.wanted_ends = 0
        self.stamped = False
        self.late: list[float] = []
        self.ready = 0
        self.done = asyncio.Event()
        self.first: float | None = None

    def see(self, socket: Socket, frame: bytes) -> None:
        """Count a frame."""
        if sockets.is_delta(frame):
            self.frames += 1
            if self.first is None:
                self.first = time.perf_counter()
            if self.stamped:
                now = time.monotonic()
                self.late += [now - float(sent) for sent in sockets.words_of(frame)]
        elif sockets.is_end(frame):
            self.ends += 1
            if self.ends == self.wanted_ends:
                self.done.set()
        elif sockets.is_ready(frame):
            self.ready += 1


class Streamed(NamedTuple):
    """One server, streaming for a while."""

    tokens: int
    cpu_us_a_token: float
    late: list[float]
    cores: float


async def _open(
    process: Process,
    counter: Frames,
    count: int,
    session: str | None = None,
    path: str = "/ws",
) -> list[Socket]:
    """So many sockets, a session each, or all on one; they are ready."""
    run = next(_run)
    opened: list[Socket] = []
    for start in range(0, count, 50):
        some = range(start, min(start + 50, count))
        opened += await asyncio.gather(
            *[sockets.connect(process, session or f"s{run}-{n}", counter.see, path) for n in some]
        )
    while counter.ready < count:
        await asyncio.sleep(0.01)
    return opened


def _chat(tokens: int, *, stamp: bool) -> dict[str, object]:
    script = {"rate": RATE, "tokens": tokens, "stamp": stamp}
    return {"type": "chat", "message": MESSAGE, "metadata": {"standin": script}}


async def stream(process: Process, count: int, tokens: int, *, stamp: bool = False) -> Streamed:
    """So many sockets, each with a reply of its own; begun within a second, read to the end."""
    counter = Frames()
    counter.stamped = stamp
    counter.wanted_ends = count
    opened = await _open(process, counter, count)
    frame = _chat(tokens, stamp=stamp)
    cpu, begun = process.cpu(), time.perf_counter()
    for number, socket in enumerate(opened):
        socket.send(frame)
        if number % 10 == 9:
            await asyncio.sleep(10 / count)
    await asyncio.wait_for(counter.done.wait(), tokens / RATE * 4 + 30)
    used, took = process.cpu() - cpu, time.perf_counter() - begun
    for socket in opened:
        socket.close()
    await asyncio.sleep(0.2)
    return Streamed(count * tokens, used / (count * tokens) * 1e6, counter.late, used / took)


async def _servers(bench: Bench) -> tuple[Process, Process]:
    await bench.tell_switch(mode="ok", rate=RATE)
    operator = processes.operator(bench.switch, bench.database("sqlite"))
    return operator, processes.reference(bench.switch, "relay")


async def streams(bench: Bench, count: int) -> None:
    """CPU of a token: Operator, which also stores it, and the bare relay."""
    part = f"stream-{count}"
    tokens = 100 if bench.quick else 200
    operator, relay = await _servers(bench)
    ours: list[Streamed] = []
    bare: list[Streamed] = []
    with running(operator, relay):
        await stream(operator, 10, 20)
        await stream(relay, 10, 20)
        for number in bench.rounds(4 if count > 100 else 5):
            for which, process in _turns(number, (ours, operator), (bare, relay)):
                which.append(await stream(process, count, tokens))
    ratios = [a.cpu_us_a_token / b.cpu_us_a_token for a, b in zip(ours, bare, strict=True)]
    bench.add(
        median_figure(
            part, f"CPU of a token at {count} sockets, of the bare relay's", ratios, "", 1.15
        ),
        median_figure(part, "CPU of 1000 tokens, Operator", [s.cpu_us_a_token for s in ours], "ms"),
        median_figure(
            part, "CPU of 1000 tokens, bare relay", [s.cpu_us_a_token for s in bare], "ms"
        ),
        median_figure(part, "share of the core, Operator", [s.cores for s in ours], ""),
        median_figure(part, "share of the core, bare relay", [s.cores for s in bare], ""),
    )


def _turns(
    number: int, *pairs: tuple[list[Streamed], Process]
) -> Sequence[tuple[list[Streamed], Process]]:
    return pairs if number % 2 else pairs[::-1]


async def lateness(bench: Bench) -> None:
    """400 sockets: how long a token takes from Switch's write to the client's read."""
    part, count = "lateness", 400
    tokens = 100 if bench.quick else 200
    operator, relay = await _servers(bench)
    ours: list[Streamed] = []
    bare: list[Streamed] = []
    with running(operator, relay):
        for number in bench.rounds(4):
            for which, process in _turns(number, (ours, operator), (bare, relay)):
                which.append(await stream(process, count, tokens, stamp=True))
    bench.add(
        median_figure(
            part, "a token of 400 sockets, 99th percentile, late by",
            [percentile(s.late, 0.99) * 1000 for s in ours], "ms", 50,
        ),
        median_figure(
            part, "the same, bare relay", [percentile(s.late, 0.99) * 1000 for s in bare], "ms"
        ),
        median_figure(
            part, "median, Operator", [statistics.median(s.late) * 1000 for s in ours], "ms"
        ),
        median_figure(
            part, "median, bare relay", [statistics.median(s.late) * 1000 for s in bare], "ms"
        ),
    )  # fmt: skip


async def first_token(bench: Bench) -> None:
    """One socket: from the chat's frame to the first piece of its reply."""
    part = "first-token"
    operator, relay = await _servers(bench)
    ours: list[float] = []
    bare: list[float] = []
    with running(operator, relay):
        for number in range(20 if bench.quick else 60):
            for which, process in ((ours, operator), (bare, relay))[:: 1 if number % 2 else -1]:
                which.append(await _first(process))
    del ours[:3], bare[:3]
    more = [(a - b) * 1000 for a, b in zip(ours, bare, strict=True)]
    bench.add(
        Figure(part=part, name="first token, later than the bare relay's (medians)",
               value=(statistics.median(ours) - statistics.median(bare)) * 1000,
               unit="ms", target=1.0),
        median_figure(part, "the same, by pairs", more, "ms"),
        median_figure(part, "first token, Operator", [s * 1000 for s in ours], "ms"),
        median_figure(part, "first token, bare relay", [s * 1000 for s in bare], "ms"),
    )  # fmt: skip


async def _first(process: Process) -> float:
    counter = Frames()
    counter.wanted_ends = 1
    (socket,) = await _open(process, counter, 1)
    begun = time.perf_counter()
    socket.send(_chat(3, stamp=False))
    await asyncio.wait_for(counter.done.wait(), 10)
    socket.close()
    assert counter.first is not None
    return counter.first - begun


async def fan_out(bench: Bench) -> None:
    """One session that 500 sockets read: CPU of each frame that is delivered."""
    part, count = "fan-out", 500
    tokens = 100 if bench.quick else 150
    operator, relay = await _servers(bench)
    ours: list[float] = []
    room: list[float] = []
    bare: list[float] = []
    with running(operator, relay):
        for _ in bench.rounds(4):
            ours.append(await _fan_out(operator, count, tokens, "/ws"))
            room.append(await _fan_out(relay, count, tokens, "/room"))
            bare.append((await stream(relay, 200, 50)).cpu_us_a_token)
    bench.add(
        median_figure(
            part, "CPU of a frame at 500 readers, of what the relay takes for one",
            [a / b for a, b in zip(ours, bare, strict=True)], "", 0.5,
        ),
        median_figure(
            part, "the same, of a bare relay that sends to all itself",
            [a / b for a, b in zip(ours, room, strict=True)], "",
        ),
        median_figure(part, "CPU of 1000 frames, Operator", ours, "ms"),
        median_figure(part, "CPU of 1000 frames, relay that sends to all", room, "ms"),
        median_figure(part, "CPU of 1000 frames, relay with a reply each", bare, "ms"),
    )  # fmt: skip


async def _fan_out(process: Process, count: int, tokens: int, path: str) -> float:
    """CPU of a delivered frame, in microseconds."""
    counter = Frames()
    counter.wanted_ends = count
    opened = await _open(process, counter, count, f"fan-{next(_run)}", path=path)
    cpu = process.cpu()
    opened[0].send(_chat(tokens, stamp=False))
    await asyncio.wait_for(counter.done.wait(), tokens / RATE * 4 + 30)
    used = process.cpu() - cpu
    for socket in opened:
        socket.close()
    await asyncio.sleep(0.2)
    return used / counter.frames * 1e6
