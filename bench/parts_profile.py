"""Sampled profiles of the event loop: chats as JSON, and tokens of many streams."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from bench import processes
from bench.context import Bench
from bench.http import Load
from bench.parts_chat import CLIENTS, chats
from bench.parts_stream import RATE, stream
from bench.processes import Process, running
from bench.results import Figure

LEAST = 0.01
"""Share below which a package is not told."""
SOCKETS = 500


async def profile_chat(bench: Bench) -> None:
    """CPU time of the event loop for a chat on SQLite, by package."""
    await bench.tell_switch(mode="json")
    async with _profiled(bench) as (operator, file):
        load = Load(operator, CLIENTS, chats(operator))
        await load.connect()
        await load.run(1.0)
        operator.send(signal.SIGUSR2)
        await load.run(2.0 if bench.quick else 8.0)
        await _tell(bench, operator, file, "profile-chat", "a chat", len(load.seconds))
        load.close()


async def profile_token(bench: Bench) -> None:
    """CPU time of the event loop for a token at 500 sockets, by package."""
    await bench.tell_switch(mode="ok", rate=RATE)
    async with _profiled(bench) as (operator, file):
        await stream(bench, operator, 10, 20)
        tokens = round(RATE * (2 if bench.quick else 8))
        operator.send(signal.SIGUSR2)
        await stream(bench, operator, SOCKETS, tokens)
        await _tell(bench, operator, file, "profile-token", "a token", SOCKETS * tokens)


@contextlib.asynccontextmanager
async def _profiled(bench: Bench) -> AsyncIterator[tuple[Process, Path]]:
    file = bench.folder / "profile.json"
    file.unlink(missing_ok=True)
    operator = processes.operator(
        bench.switch, bench.database("sqlite"), module=("-m", "bench.with_profile"),
        name="profiled", PROFILE=str(file),
    )  # fmt: skip
    with running(operator):
        yield operator, file


async def _tell(
    bench: Bench, operator: Process, file: Path, part: str, what: str, count: int
) -> None:
    operator.send(signal.SIGUSR2)
    async with asyncio.timeout(10):
        while not file.exists():
            await asyncio.sleep(0.02)
    seconds = msgspec.json.decode(file.read_bytes(), type=dict[str, float])
    total = sum(seconds.values())
    bench.add(Figure(part=part, name=f"CPU time of the event loop for {what}, profiled",
                     value=total / count * 1e6, unit="µs"))  # fmt: skip
    for name, used in sorted(seconds.items(), key=lambda item: -item[1]):
        if used / total >= LEAST:
            bench.add(Figure(part=part, name=f"share of {name}", value=used / total * 100,
                             unit="%"))  # fmt: skip
