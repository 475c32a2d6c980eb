"""Chats through OpenAI's protocol beside the same ones through Operator's own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from typing import cast

import msgspec

from bench import processes
from bench.context import Bench
from bench.http import Load, request
from bench.parts_chat import CHATS_A_SESSION, CLIENTS, MESSAGE, chats, interleave
from bench.parts_stream import RATE
from bench.processes import TOKEN, Process, running
from bench.results import median_figure

STREAMS = 50
CHAT_ROUNDS, TOKEN_ROUNDS = 31, 15
"""Many short rounds in turn: what else the machine does meanwhile then counts for both sides."""
LAST_CHUNK = b"\r\n0\r\n\r\n"

_run = itertools.count()


def completion(process: Process, session_id: str, *, stream: bool, message: str) -> bytes:
    """The bytes of a request for a chat completion in a session."""
    messages = [{"role": "user", "content": message}]
    body = {"model": "operator", "messages": messages, "stream": stream}
    return request(
        process,
        "POST",
        "/v1/chat/completions",
        msgspec.json.encode(body),
        headers=f"X-Operator-Session: {session_id}\r\n",
        token=f"Authorization: Bearer {TOKEN}",
    )


def completions(process: Process) -> Callable[[int], bytes]:
    """Makes the completions of each client, in sessions of ten, as ``chats`` does; each asks
    something else, since the same once more would take the key of its intent over."""
    run = next(_run)
    counts: dict[int, int] = {}

    def make(client: int) -> bytes:
        number = counts[client] = counts.get(client, 0) + 1
        session = f"v{run}-{client}-{number // CHATS_A_SESSION}"
        return completion(process, session, stream=False, message=f"{MESSAGE} {number}")

    return make


def streamed_chat(process: Process, session_id: str, message: str) -> bytes:
    """The bytes of a request for a chat as server-sent events."""
    body = msgspec.json.encode({"session_id": session_id, "message": message})
    sent = request(process, "POST", "/operator/chat", body)
    return sent.replace(b"Accept: application/json", b"Accept: text/event-stream")


class StreamConnection(asyncio.Protocol):
    """One request, whose answer is a stream; ``done`` is set with its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._tail = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._data)

    def data_received(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-64:]
        if self._tail.endswith(LAST_CHUNK):
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def stream(process: Process, make: Callable[[str], bytes], tokens: int) -> float:
    """Read some streams to their ends, each of a session of its own; CPU of a token, in us."""
    run, loop = next(_run), asyncio.get_running_loop()
    cpu = process.cpu()
    opened = []
    for number in range(STREAMS):
        data = make(f"t{run}-{number}")
        opened.append(
            await loop.create_connection(
                partial(StreamConnection, data),
                process.host,
                process.port,
            )
        )
        # The tokens of all come one after the other: the server reads each by itself.
        await asyncio.sleep((1 + 1 / STREAMS) / RATE)
    await asyncio.wait_for(
        asyncio.gather(*(connection.done for _, connection in opened)), tokens / RATE * 4 + 30
    )
    used = process.cpu() - cpu
    for transport, _ in opened:
        transport.abort()
    await asyncio.sleep(0.2)
    return used / (STREAMS * tokens) * 1e6


async def openai(bench: Bench) -> None:
    """The cost of a chat and of a token through ``/v1``, of those through ``/operator/chat``."""
    part = "openai"
    operator = processes.operator(bench.switch, bench.database("sqlite"))
    with running(operator):
        await bench.tell_switch(mode="json")
        loads = [Load(operator, CLIENTS, make(operator)) for make in (completions, chats)]
        ours, own = await interleave(bench, loads, CHAT_ROUNDS, 0.5)
        tokens = 100 if bench.quick else 200  # so that the chat itself is little of each
        await bench.tell_switch(mode="ok", rate=RATE, tokens=tokens)
        kinds: tuple[Callable[[str], bytes], ...] = (
            lambda session: completion(operator, session, stream=True, message=MESSAGE),
            lambda session: streamed_chat(operator, session, MESSAGE),
        )
        costs: list[list[float]] = [[], []]
        for number in bench.rounds(TOKEN_ROUNDS):
            for index in (0, 1) if number % 2 else (1, 0):
                costs[index].append(await stream(operator, kinds[index], tokens))
    bench.add(
        median_figure(
            part, "CPU time of a completion of `/v1`, relative to one of `/operator/chat`",
            [a.cpu_ms / b.cpu_ms for a, b in zip(ours, own, strict=True)], "", 1.10,
        ),
        median_figure(
            part, "CPU time of a token streamed by `/v1`, relative to the same",
            [a / b for a, b in zip(*costs, strict=True)], "", 1.05,
        ),
        median_figure(part, "CPU time of a completion of `/v1`", [r.cpu_ms for r in ours], "ms"),
        median_figure(part, "the same, `/operator/chat`", [r.cpu_ms for r in own], "ms"),
        median_figure(part, f"CPU time of a token of {STREAMS} streams, `/v1`", costs[0], "µs"),
        median_figure(part, "the same, streamed by `/operator/chat`", costs[1], "µs"),
    )  # fmt: skip
