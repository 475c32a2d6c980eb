"""Three attackers at once, with all they can think of, on a pod with the limits that ship.

``make attack`` runs it, for ``ATTACK_SECONDS`` (600); it compares seconds, so it wants a machine
that does nothing else. It prints a line of JSON: what each attack was answered, and what an honest
client saw meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cluster.attacks import ATTACKS, TRIED
from tests.cluster.confinement import ROOT, confined, peak_memory, shipped_memory
from tests.cluster.processes import Pod

SECONDS = float(os.environ.get("ATTACK_SECONDS", "600"))
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
SESSIONS = 20
"""The honest client's: none of them has more than a chat in four seconds."""
CHAT_EVERY = 0.2
PROBE_EVERY = 0.1
CHAT_P99 = 1.0
PROBE_MAX = 0.1
"""Seconds; of the promises."""

pytestmark = pytest.mark.timeout(SECONDS + 120)


def tokens_of(path: Path) -> str:
    """A file with a token for each attacker and one for the honest client."""
    lines = [{"name": address, "token": f"token-of-{address}"} for address in ADDRESSES]
    lines.append({"name": "honest", "token": "token-of-honest", "user_id": "honest"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@asynccontextmanager
async def peers() -> AsyncIterator[str]:
    """The hostile neighbours; their address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.cluster.hostile_peers", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.wait()


async def attack(pod: Pod, address: str) -> dict[str, dict[str, int]]:
    """One attacker, a process of its own; what it was answered."""
    host, port = pod.url.removeprefix("http://").split(":")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.cluster.attacker", host, port, address,
        f"token-of-{address}", str(SECONDS), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    answers: dict[str, dict[str, int]] = json.loads(told)
    return answers


class Honest:
    """A client that chats, and a cluster that probes; each on new connections."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self.chats: list[float] = []
        self.probes: list[float] = []
        self.failures: Counter[str] = Counter()

    async def chat(self) -> None:
        """Chat, one after another, in several sessions."""
        headers = {"X-VX11-Token": "token-of-honest"}
        async with self._http(headers) as http:
            number = 0
            while True:
                number += 1
                body = {"session_id": f"honest-{number % SESSIONS}", "message": "How is it?"}
                begun = time.monotonic()
                try:
                    async with http.post(f"{self._pod.url}/operator/chat", json=body) as answer:
                        told = await answer.json(content_type=None)
                        if answer.status != 200 or told["response"] != "It is well.":
                            self.failures[f"chat: {answer.status} {told.get('detail')}"] += 1
                except aiohttp.ClientError as error:
                    self.failures[f"chat: {error!r}"] += 1
                self.chats.append(time.monotonic() - begun)
                await asyncio.sleep(CHAT_EVERY)

    async def probe(self) -> None:
        """Ask whether it is alive, as a cluster does."""
        async with self._http({}) as http:
            while True:
                begun = time.monotonic()
                try:
                    async with http.get(f"{self._pod.url}/health/live") as answer:
                        if answer.status != 200:
                            self.failures[f"probe: {answer.status}"] += 1
                except aiohttp.ClientError as error:
                    self.failures[f"probe: {error!r}"] += 1
                self.probes.append(time.monotonic() - begun)
                await asyncio.sleep(PROBE_EVERY)

    @staticmethod
    def _http(headers: dict[str, str]) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(force_close=True)
        return aiohttp.ClientSession(headers=headers, connector=connector)


async def keep_faults(pod: Pod) -> None:
    """Forget what is logged but errors: it logs each refusal."""
    while True:
        await asyncio.sleep(1)  # a second of lines is little
        pod.log[:] = pod.faults()


def quantile(seconds: list[float], hundredth: int) -> float:
    """A percentile, in milliseconds."""
    return round(statistics.quantiles(seconds, n=100)[hundredth - 1] * 1000, 1)


@asynccontextmanager
async def pod_under_limits(database_url: str, folder: Path) -> AsyncIterator[tuple[Pod, str]]:
    """A pod with the limits that ship, and hostile neighbours; and what confines it."""
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(peers())
        cage = stack.enter_context(confined(shipped_memory()))
        names = ("SWITCH", "BROWSER", "HERMES", "SHUB", "TENTACULO_LINK", "MADRE", "HORMIGUERO",
                 "MANIFESTATOR", "MCP", "SPAWNER")  # fmt: skip
        pod = Pod(
            {
                "OPERATOR_DATABASE_URL": database_url,
                "OPERATOR_TOKEN": "token-of-nobody-here",
                "OPERATOR_TOKENS_FILE": tokens_of(folder / "tokens"),
                "OPERATOR_LOG_FORMAT": "json",
                **{f"{name}_URL": peer for name in names},
            },
            cage.under,
        )
        await pod.start()
        try:
            yield pod, cage.kind
        finally:
            await pod.end()


async def test_under_all_attacks_at_once_chats_and_probes_are_answered(
    database_url: str, tmp_path: Path
) -> None:
    async with pod_under_limits(database_url, tmp_path) as (pod, kind):
        pid, honest = pod.pid, Honest(pod)
        asked = [asyncio.create_task(way()) for way in (honest.chat, honest.probe)]
        asked.append(asyncio.create_task(keep_faults(pod)))
        attackers = await asyncio.gather(*(attack(pod, address) for address in ADDRESSES))
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
        assert pod.running, f"it was killed: {pod.log[-20:]}"
        peak = await peak_memory(pid)
        faults = pod.faults()
    answers: dict[str, Counter[str]] = {way.__name__: Counter() for way in ATTACKS}
    for told in attackers:
        for name, counts in told.items():
            answers[name].update(counts)
    report: dict[str, Any] = {
        "engine": database_url.partition(":")[0], "seconds": SECONDS, "confined_by": kind,
        "load": os.getloadavg()[0], "attacks": answers,
        "chats": len(honest.chats), "chat_p50_ms": quantile(honest.chats, 50),
        "chat_p99_ms": quantile(honest.chats, 99), "probes": len(honest.probes),
        "probe_p99_ms": quantile(honest.probes, 99),
        "probe_max_ms": round(max(honest.probes) * 1000, 1),
        "peak_mib": round(peak / 2**20), "limit_mib": shipped_memory() // 2**20,
        "failures": honest.failures,
    }  # fmt: skip
    print("\n" + json.dumps(report))  # noqa: T201 - figures that the test prints are its result
    assert not honest.failures
    assert not faults, json.dumps(faults[:3])
    assert [name for name, counts in answers.items() if not counts[TRIED]] == []
    assert [name for name, counts in answers.items() if counts["500"]] == []
    assert peak < shipped_memory()
    assert report["chat_p99_ms"] < CHAT_P99 * 1000
    assert max(honest.probes) < PROBE_MAX
