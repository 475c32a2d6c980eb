"""Coming back: resuming a session, and the end of replies whose process was killed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

from bench import processes, sockets
from bench.context import Bench, Engine
from bench.http import Load, request
from bench.parts_pods import some_pods
from bench.processes import Process, running
from bench.results import Figure, median_figure
from bench.sockets import Socket

EVENTS = 300
KILLS = 20
VICTIMS = 5
"""Processes that are killed at once, with a reply each; another one survives them."""


async def resume(bench: Bench) -> None:
    """300 events that a client has missed."""
    part = "resume"
    await bench.tell_switch(mode="json")
    engines: tuple[Engine, ...] = ("sqlite", "postgresql")
    for engine in engines:
        operator = processes.operator(bench.switch, bench.database(engine), OPERATOR_CHAT_RATE="0")
        with running(operator):
            await _make_events(operator)
            took = [await _resume(operator) for _ in range(10 if bench.quick else 30)]
        bench.add(
            median_figure(
                part, f"resume of 300 events, {engine}", [s * 1000 for s in took[2:]], "ms", 10.0
            )
        )


async def _make_events(operator: Process) -> None:
    body = b'{"session_id": "resumed", "message": "And then?"}'
    load = Load(operator, 1, lambda _: request(operator, "POST", "/operator/chat", body))
    await load.connect()
    await load.run_count(EVENTS // 3)  # each chat is three events, the session one more
    load.close()


async def _resume(operator: Process) -> float:
    """Seconds from the frame that asks to the one that says that all is replayed."""
    done = asyncio.get_running_loop().create_future()
    seen = 0

    def see(socket: Socket, frame: bytes) -> None:
        nonlocal seen
        if sockets.is_ready(frame):
            socket.note = time.perf_counter()
            socket.send({"type": "resume", "after": 1})
        elif frame.startswith(b'{"type":"event"'):
            seen += 1
        elif frame.startswith(b'{"type":"resumed"'):
            done.set_result(time.perf_counter() - socket.note)

    socket = await sockets.connect(operator, "resumed", see)
    took: float = await asyncio.wait_for(done, 30)
    socket.close()
    assert seen == EVENTS, f"{seen} events were replayed"
    return took


async def recovery(bench: Bench) -> None:
    """SIGKILL in mid-reply: when a client on another pod is told."""
    part = "recovery"
    await bench.tell_switch(mode="ok", rate=5.0, tokens=100_000)
    rounds = 1 if bench.quick else KILLS // VICTIMS
    took: list[float] = []
    for _ in range(rounds):
        took += await _kill_some(bench)
    bench.add(
        Figure(part=part, name=f"`interrupted` after SIGKILL, the longest of {len(took)}",
               value=max(took), unit="s", target=3.0),
        median_figure(part, "the same, median", took, "s"),
        Figure(part=part, name="kills without a last event", value=rounds * VICTIMS - len(took),
               unit="", target=0),
    )  # fmt: skip


async def _kill_some(bench: Bench) -> list[float]:
    survivor, *victims = some_pods(bench, VICTIMS + 1)
    ended: dict[str, float] = {}
    started: set[str] = set()

    def see(socket: Socket, frame: bytes) -> None:
        if sockets.is_end(frame) and b'"reply.interrupted"' in frame:
            ended[socket.session_id] = time.monotonic()
        elif sockets.is_delta(frame):
            started.add(socket.session_id)

    with running(survivor, *victims):
        begun = time.monotonic()
        subscriptions = [await sockets.connect(survivor, f"k-{n}", see) for n in range(VICTIMS)]
        asking = [
            await sockets.connect(victim, f"k-{n}", lambda *_: None)
            for n, victim in enumerate(victims)
        ]
        for socket in asking:
            socket.send({"type": "chat", "message": "Go on for ever."})
        while len(started) < VICTIMS:
            await asyncio.sleep(0.05)
        # The survivor may say that others are dead only after 5 s with its own session.
        await asyncio.sleep(max(0.0, begun + 11.0 - time.monotonic()))
        killed = {}
        for number, victim in enumerate(victims):
            await asyncio.sleep(0.7)  # at other places of the lease's turn
            victim.send(signal.SIGKILL)
            killed[f"k-{number}"] = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                while len(ended) < VICTIMS:
                    await asyncio.sleep(0.02)
        for socket in (*subscriptions, *asking):
            socket.close()
    return [at - killed[session_id] for session_id, at in ended.items()]
