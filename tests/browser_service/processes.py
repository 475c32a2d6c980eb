"""Processes of the machine, and ``operator-browser`` as one of them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import aiohttp


def parents() -> dict[int, int]:
    """The parent of each process of the machine, without zombies, by process id."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):  # it ended meanwhile
                state, parent = _read(entry, "stat").rpartition(b")")[2].split()[:2]
                if state != b"Z":
                    found[int(entry)] = int(parent)
    return found


def processes() -> dict[int, tuple[int, str]]:
    """All processes of the machine: parent and command line by process id."""
    found = parents()
    return {pid: (found[pid], line) for pid, line in _lines(found).items()}


def descendants(pid: int) -> set[int]:
    """``pid`` and all that it has started."""
    everything = parents()
    members = {pid}
    while more := {p for p, parent in everything.items() if parent in members} - members:
        members |= more
    return members & everything.keys()


def family(pid: int) -> dict[int, str]:
    """The command lines of ``pid`` and all that it has started."""
    return _lines(descendants(pid))


def _lines(pids: Iterable[int]) -> dict[int, str]:
    lines = {}
    for pid in pids:
        with suppress(OSError):  # it ended meanwhile
            lines[pid] = _read(str(pid), "cmdline").replace(b"\0", b" ").decode()
    return lines


def _read(pid: str, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.read()


def open_files(pids: list[int]) -> int:
    """The number of files that these processes have open."""
    total = 0
    for pid in pids:
        try:
            total += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
    return total


class Process:
    """``operator-browser`` as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    async def ready(self) -> None:
        """Wait for the log line that says where it listens."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            async for line in self.process.stdout:
                event = json.loads(line)
                if event["event"] == "ready":
                    self.url = event["url"]
                    return
        raise AssertionError("it ended before it was ready")


async def launch(**environ: str) -> Process:
    """Start ``operator-browser`` with these settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPERATOR_", "BROWSER_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "operator_svc.browser_service",
        env={**kept, "BROWSER_PORT": "0", "BROWSER_TOKEN": "the-token", **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return Process(process)


def post(session: aiohttp.ClientSession, process: Process, url: str) -> Any:
    return session.post(
        f"{process.url}/navigate", json={"url": url}, headers={"X-VX11-Token": "the-token"}
    )


async def status_of(request: Any) -> int:
    async with request as response:
        await response.read()
        return int(response.status)


def hanging(site: Any) -> str:
    return str(site.on(lambda request: site.hold.wait()))
