"""Streams: Switch's tokens to websockets, one session each, or all on one."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from typing import NamedTuple

from bench import processes, sockets
from bench.context import Bench, synced_ms
from bench.processes import Process, running
from bench.results import Figure, median_figure, percentile
from bench.sockets import Socket

RATE = 50.0
"""Tokens a second of each reply: one every 20 ms."""
MESSAGE = "Please tell me a story of the quick brown fox."
STAMPED = "each word of its replies is the time at which it was sent"
BEGIN_BYTES = 15 * 4096
"""Bytes that the first chat of a session adds to SQLite's log before the upstream is asked: a page
of each table and index that gets a row (counted by its system calls)."""
STAMPED_EVERY = 5
"""One socket in so many is STAMPED: to read the times of all would cost the clients' core much."""

_run = itertools.count()


class Frames:
    """Counts of what the sockets of a round have received."""

    def __init__(self) -> None:
        self.frames = 0
        self.ends = 0
        self.wanted_ends = 0
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
            if socket.note is STAMPED:
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

    cpu_us_a_token: float
    late_ms: float
    """99th percentile, from Switch's write to the client's read."""
    median_late_ms: float
    cores: float
    others_cores: float
    """Cores used by the clients and the stand-in for Switch, which share one."""
    seconds: float


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


def _chat(tokens: int, rate: float = RATE, *, stamp: bool) -> dict[str, object]:
    script = {"rate": rate, "tokens": tokens, "stamp": stamp}
    return {"type": "chat", "message": MESSAGE, "metadata": {"standin": script}}


async def stream(
    bench: Bench, process: Process, count: int, tokens: int, rate: float = RATE
) -> Streamed:
    """So many sockets, each with a reply of its own; begun within a second, read to the end."""
    counter = Frames()
    counter.wanted_ends = count
    opened = await _open(process, counter, count)
    for socket in opened[::STAMPED_EVERY]:
        socket.note = STAMPED
    frames = {note: _chat(tokens, rate, stamp=note is STAMPED) for note in (None, STAMPED)}
    used, others, begun = process.cpu(), _others_cpu(bench), time.perf_counter()
    for number, socket in enumerate(opened):
        socket.send(frames[socket.note])
        if number % 10 == 9:
            await asyncio.sleep(10 / count)
    await asyncio.wait_for(counter.done.wait(), tokens / rate * 4 + 30)
    took = time.perf_counter() - begun
    used, others = process.cpu() - used, _others_cpu(bench) - others
    for socket in opened:
        socket.close()
    await asyncio.sleep(0.2)
    stamped = len(opened[::STAMPED_EVERY])
    assert len(counter.late) == stamped * tokens, "each token was received once"
    return Streamed(
        used / (count * tokens) * 1e6,
        percentile(counter.late, 0.99) * 1000,
        statistics.median(counter.late) * 1000,
        used / took,
        others / took,
        took,
    )


def _others_cpu(bench: Bench) -> float:
    return time.process_time() + bench.switch.cpu()


async def _servers(bench: Bench) -> tuple[Process, Process]:
    await bench.tell_switch(mode="ok", rate=RATE)
    operator = processes.operator(bench.switch, bench.database("sqlite"))
    return operator, processes.reference(bench.switch, "relay")


async def streams(
    bench: Bench, part: str, count: int, rate: float, cpu_goal: float, late_goal: float
) -> None:
    """CPU time of a token, and its delay: Operator, which also stores it, and the bare relay."""
    tokens = round(rate * (2 if bench.quick else 4))
    operator, relay = await _servers(bench)
    ours: list[Streamed] = []
    bare: list[Streamed] = []
    with running(operator, relay):
        await stream(bench, operator, 10, 20)
        await stream(bench, relay, 10, 20)
        for number in bench.rounds(4 if count > 100 else 5):
            both = (ours, operator), (bare, relay)
            for measured, process in both if number % 2 else both[::-1]:
                measured.append(await stream(bench, process, count, tokens, rate))
    each = f"{count} sockets, a token every {1000 / rate:g} ms"
    ratios = [a.cpu_us_a_token / b.cpu_us_a_token for a, b in zip(ours, bare, strict=True)]
    bench.add(
        median_figure(
            part, f"CPU time of a token, relative to the bare relay: {each}", ratios, "", cpu_goal
        ),
        median_figure(
            part, "delay of a token, 99th percentile, Operator", [s.late_ms for s in ours], "ms",
            late_goal,
        ),
        median_figure(
            part, "delay of a token, 99th percentile, bare relay", [s.late_ms for s in bare], "ms"
        ),
    )  # fmt: skip
    for name, measured in (("Operator", ours), ("bare relay", bare)):
        bench.add(
            median_figure(part, f"delay of a token, median, {name}",
                          [s.median_late_ms for s in measured], "ms"),
            median_figure(part, f"CPU time of a token, {name}",
                          [s.cpu_us_a_token for s in measured], "µs"),
            median_figure(part, f"cores used by {name}", [s.cores for s in measured], ""),
        )  # fmt: skip
    bench.add(median_figure(part, "cores used by clients and Switch, which share one",
                            [s.others_cores for s in (*ours, *bare)], ""))  # fmt: skip


async def first_token(bench: Bench) -> None:
    """One socket: from the chat's frame to the first piece of its reply."""
    part = "first-token"
    operator, relay = await _servers(bench)
    ours: list[float] = []
    bare: list[float] = []
    disk: list[float] = []
    with running(operator, relay), tempfile.TemporaryFile(dir=bench.folder) as file:
        for number in range(20 if bench.quick else 60):
            for which, process in ((ours, operator), (bare, relay))[:: 1 if number % 2 else -1]:
                which.append(await _first(process))
            disk.append(synced_ms(file.fileno(), BEGIN_BYTES))
    del ours[:3], bare[:3]
    more = [(a - b) * 1000 for a, b in zip(ours, bare, strict=True)]
    bench.add(
        Figure(part=part, name="first token, later than the bare relay's (of the medians)",
               value=(statistics.median(ours) - statistics.median(bare)) * 1000,
               unit="ms", target=1.0),
        median_figure(part, "the same, by pairs", more, "ms"),
        median_figure(part, "first token, Operator", [s * 1000 for s in ours], "ms"),
        median_figure(part, "first token, bare relay", [s * 1000 for s in bare], "ms"),
        median_figure(part, "a write of as many bytes to the same disk (fdatasync)", disk, "ms"),
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
            bare.append((await stream(bench, relay, 200, 50)).cpu_us_a_token)
    bench.add(
        median_figure(
            part, "CPU time of a frame, one session with 500 readers, relative to the bare relay",
            [a / b for a, b in zip(ours, bare, strict=True)], "", 0.5,
        ),
        median_figure(
            part, "the same, relative to a bare relay that sends to all",
            [a / b for a, b in zip(ours, room, strict=True)], "",
        ),
        median_figure(part, "CPU time of a frame, Operator", ours, "µs"),
        median_figure(part, "CPU time of a frame, bare relay that sends to all", room, "µs"),
        median_figure(part, "CPU time of a frame, bare relay with a reply each", bare, "µs"),
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
