"""Real processes of the service on one PostgreSQL, to be killed, stopped and started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from operator_svc.devpeers import DevPeers

TOKEN = "token-of-the-cluster"
START_SECONDS = 120.0
"""Seconds after which a start is given up: some twenty times what it takes beside other work."""


def environment(database_url: str, peers: DevPeers | None = None, **more: str) -> dict[str, str]:
    """A pod's, on a database, with stand-ins for its peers or none, and no limit of chats."""
    return {
        "OPERATOR_TOKEN": TOKEN,
        "OPERATOR_DATABASE_URL": database_url,
        "OPERATOR_CHAT_RATE": "0",
        "OPERATOR_LOG_FORMAT": "json",
        "BROWSER_URL": "",
        **(peers.environment if peers is not None else {}),
        **more,
    }


class Pod:
    """One process of the service; ``under`` is a command that runs and confines it."""

    def __init__(self, environment: Mapping[str, str], under: Sequence[str] = ()) -> None:
        self._under = under
        self._environment = {**os.environ, **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[str] | None = None
        self.url = ""
        self.frozen = False
        self.log: list[dict[str, Any]] = []

    @property
    def running(self) -> bool:
        """True while the process is there and not stopped."""
        return self._process is not None and self._process.returncode is None and not self.frozen

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start and wait until it accepts connections, on the port that it had before."""
        port = self.url.rpartition(":")[2] if self.url else "0"
        self._ready = asyncio.get_running_loop().create_future()
        self._process = await asyncio.create_subprocess_exec(
            *self._under, sys.executable, "-m", "operator_svc", "serve",
            env=self._environment | {"OPERATOR_PORT": port},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))
        try:
            async with asyncio.timeout(START_SECONDS):
                self.url = await self._ready
        except TimeoutError:
            raise TimeoutError(f"it is not ready: {self.log[-20:]}") from None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                entry = msgspec.json.decode(line)
            except msgspec.DecodeError:
                entry = {"event": line.decode(errors="replace").rstrip()}
            entry["heard"] = asyncio.get_running_loop().time()
            self.log.append(entry)
            if entry.get("event") == "ready" and self._ready and not self._ready.done():
                self._ready.set_result(entry["url"])
        if self._ready and not self._ready.done():
            self._ready.set_exception(RuntimeError(f"it did not start: {self.log[-20:]}"))

    def send(self, number: signal.Signals) -> None:
        """Send a signal; SIGSTOP and SIGCONT are remembered."""
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.frozen = number == signal.SIGSTOP

    async def end(self, number: signal.Signals = signal.SIGTERM, within: float = 60.0) -> int:
        """End it by a signal; its exit code."""
        assert self._process is not None
        assert self._reading is not None
        if self._process.returncode is None:
            if self.frozen:
                self.send(signal.SIGCONT)
            self._process.send_signal(number)
        async with asyncio.timeout(within):
            code = await self._process.wait()
            await self._reading
        return code

    def memory(self) -> int:
        """Resident bytes."""
        with open(f"/proc/{self.pid}/statm") as told:
            return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def faults(self) -> list[dict[str, Any]]:
        """The errors that it logged."""
        return [entry for entry in self.log if entry.get("level") in ("error", "critical")]
