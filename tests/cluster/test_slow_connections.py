"""Ten thousand connections that never ask for anything do not keep anybody from chatting."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from operator_svc import devpeers
from tests.cluster.processes import TOKEN, Pod, environment

WANTED = 10_000
SPARE = 400
"""Files that each of the two processes needs besides the connections."""
HEADER_TIMEOUT = 14.0
SOFT_LIMIT = 1024
"""The soft limit that most systems give a process; the service has to raise it by itself."""
BYTES_EACH = 24 * 1024
"""Most memory that a held connection may cost the service."""
OPENER = Path(__file__).with_name("opener.py")


class Opener:
    """The process that holds the connections."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def told(self) -> dict[str, int]:
        """The next line that it says."""
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            line = await self._process.stdout.readline()
        told: dict[str, int] = msgspec.json.decode(line)
        return told

    async def held(self) -> int:
        """Number of connections that the service has not closed."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return (await self.told())["held"]


@asynccontextmanager
async def opener(url: str, count: int) -> AsyncIterator[Opener]:
    """Begins to open ``count`` connections."""
    host, port = url.removeprefix("http://").split(":")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(OPENER), host, port, str(count),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Opener(process)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def pod_with(sqlite_url: str, **given: str) -> AsyncIterator[Pod]:
    """A service that is started with the usual soft limit of open files."""
    async with await devpeers.start(TOKEN) as peers:
        pod = Pod(environment(sqlite_url, peers, **given))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(SOFT_LIMIT, hard), hard))
        try:
            starting = asyncio.ensure_future(pod.start())
            await asyncio.sleep(0)
            await starting
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        try:
            yield pod
        finally:
            await pod.end()


async def chat(http: aiohttp.ClientSession, pod: Pod, number: int) -> float:
    """One chat that is answered; its seconds."""
    begun = time.monotonic()
    body = {"session_id": f"s{number}", "message": "let me in [[rate=0]]"}
    async with http.post(f"{pod.url}/operator/chat", json=body) as answer:
        told: dict[str, Any] = await answer.json()
        assert answer.status == 200, told
    return time.monotonic() - begun


async def refused(http: aiohttp.ClientSession, pod: Pod) -> dict[str, float]:
    """Connections that were closed for the limits, by reason."""
    async with http.get(f"{pod.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    name = 'operator_connections_refused_total{reason="'
    found = [line.removeprefix(name).split('"} ') for line in lines if line.startswith(name)]
    return {reason: float(count) for reason, count in found}


async def test_ten_thousand_slow_connections_do_not_stop_a_chat(sqlite_url: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard - SPARE)
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        pod_with(sqlite_url, OPERATOR_HEADER_TIMEOUT=str(HEADER_TIMEOUT)) as pod,
        aiohttp.ClientSession(headers={"X-VX11-Token": TOKEN}, connector=connector) as http,
    ):
        for number in range(20):
            await chat(http, pod, number)
        before = pod.memory()
        begun = time.monotonic()
        async with opener(pod.url, most) as slow:
            assert (await slow.told())["opened"] == most
            opened = time.monotonic() - begun
            took = [await chat(http, pod, number) for number in range(20)]
            each = (pod.memory() - before) / most
            held = await slow.held()
            at = time.monotonic() - begun
            async with asyncio.timeout(HEADER_TIMEOUT * 1.25 + 15):
                while await slow.held():
                    took.append(await chat(http, pod, 0))
                    await asyncio.sleep(0.5)  # the pace of the chats
            closed = time.monotonic() - begun
        reasons = await refused(http, pod)
    print(  # noqa: T201 - a figure that the test prints is part of what it is for
        f"\n{held:,} connections held (opened in {opened:.1f} s), {each:,.0f} bytes of memory each;"
        f" {len(took)} chats meanwhile, on new connections, in {max(took) * 1000:.0f} ms at most;"
        f" all closed after {closed:.1f} s"
    )
    limit = f"the system's hard limit of open files is {hard}"
    assert most == WANTED, f"only {most} connections could be tried: {limit}"
    assert held == most, f"after {at:.1f} s only {held} were held"
    assert each < BYTES_EACH
    assert max(took) < 3
    assert closed > HEADER_TIMEOUT * 0.9
    assert reasons == {"slow_head": most}


@pytest.mark.measures_time
async def test_where_all_connections_are_taken_the_oldest_slow_ones_go(sqlite_url: str) -> None:
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        pod_with(sqlite_url, OPERATOR_CONNECTIONS="1000") as pod,
        aiohttp.ClientSession(headers={"X-VX11-Token": TOKEN}, connector=connector) as http,
        opener(pod.url, 3000) as slow,
    ):
        assert (await slow.told())["opened"] == 3000
        took = [await chat(http, pod, number) for number in range(10)]
        assert max(took) < 3
        assert 900 <= await slow.held() <= 1000
        assert (await refused(http, pod))["evicted"] >= 2000
