"""Three attackers at once, with all they can think of, on a pod with the limits that ship.

``make attack`` runs it, for ``ATTACK_SECONDS`` (600); it compares seconds, so it wants a machine
that does nothing else. The pod has a core of its own, and what has machines of its own in a cluster
(attackers, neighbours, the honest client, PostgreSQL) shares the others. What each attack was
answered, and what the honest client saw meanwhile, is a line of ``bench/results/attack.jsonl``.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.results import append
from tests.cluster.attacks import ATTACKS, TRIED
from tests.cluster.confinement import (
    ROOT,
    confined,
    peak_memory,
    processor_seconds,
    shipped_memory,
    shipped_settings,
    without_a_core,
)
from tests.cluster.processes import Pod

SECONDS = float(os.environ.get("ATTACK_SECONDS", "600"))
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
CHAT_P99_MS = 1000
PROBE_MAX_MS = 100
"""Of the promises."""
PLACES = {
    "shipped": shipped_settings(),
    "few": shipped_settings() | {"OPERATOR_CONNECTIONS": "500", "OPERATOR_ADDRESS_SHARE": "0.5"},
}
"""Settings of the pod: those of the manifests, or so few places that the attackers could hold all,
none of them more than half."""

pytestmark = pytest.mark.timeout(SECONDS + 120)


@pytest.fixture(scope="session", autouse=True)
def on_own_core() -> Iterator[tuple[str, ...]]:
    """A command that runs a process on a core that nothing else here uses."""
    with without_a_core() as core:
        yield () if core is None else ("taskset", "--cpu-list", str(core))


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


async def told_by(module: str, *arguments: str) -> Any:
    """The JSON that a process of its own prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return json.loads(told)


def attack(pod: Pod, address: str) -> Coroutine[Any, Any, dict[str, dict[str, int]]]:
    """One attacker; the answers it got."""
    host, port = pod.url.removeprefix("http://").split(":")
    arguments = host, port, address, f"token-of-{address}", str(SECONDS)
    return told_by("tests.cluster.attacker", *arguments)


def unexplained(pod: Pod) -> list[dict[str, Any]]:
    """Lines of its log that tell of a fault, or are none of its own."""
    return [line for line in pod.log if line.get("level") not in ("debug", "info", "warning")]


async def keep_faults(pod: Pod) -> None:
    """Forget what is logged but faults: it logs each refusal."""
    while True:
        await asyncio.sleep(1)  # a second of lines is little
        pod.log[:] = unexplained(pod)


def quantile(values: list[float], hundredth: int) -> float:
    """A percentile."""
    return round(statistics.quantiles(values, n=100)[hundredth - 1], 1)


@asynccontextmanager
async def pod_under_limits(
    database_url: str, settings: dict[str, str], under: tuple[str, ...], folder: Path
) -> AsyncIterator[tuple[Pod, str]]:
    """A pod with the limits that ship, and hostile neighbours; and what confines it."""
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(peers())
        cage = stack.enter_context(confined(shipped_memory()))
        names = ("SWITCH", "BROWSER", "HERMES", "SHUB", "TENTACULO_LINK", "MADRE", "HORMIGUERO",
                 "MANIFESTATOR", "MCP", "SPAWNER")  # fmt: skip
        pod = Pod(
            settings
            | {
                "OPERATOR_DATABASE_URL": database_url,
                "OPERATOR_TOKEN": "token-of-nobody-here",
                "OPERATOR_TOKENS_FILE": tokens_of(folder / "tokens"),
                **{f"{name}_URL": peer for name in names},
            },
            cage.under + under,
        )
        await pod.start()
        try:
            yield pod, cage.kind
        finally:
            await pod.end()


async def attacked(pod: Pod, admin: str) -> tuple[dict[str, Counter[str]], dict[str, Any]]:
    """The answers to each attack, and what the honest client saw; ``admin`` is the admin port."""
    keeping = asyncio.create_task(keep_faults(pod))
    admin_url = f"http://127.0.0.1:{admin}"
    honest, *attackers = await asyncio.gather(
        told_by("tests.cluster.honest", pod.url, admin_url, "token-of-honest", str(SECONDS)),
        *(attack(pod, address) for address in ADDRESSES),
    )
    keeping.cancel()
    await asyncio.wait([keeping])
    answers: dict[str, Counter[str]] = {way.__name__: Counter() for way in ATTACKS}
    for told in attackers:
        for name, counts in told.items():
            answers[name].update(counts)
    return answers, honest


@pytest.mark.parametrize("places", PLACES)
async def test_under_all_attacks_at_once_chats_and_probes_are_answered(
    database_url: str,
    places: str,
    on_own_core: tuple[str, ...],
    tmp_path: Path,
    unused_tcp_port: int,
) -> None:
    settings = PLACES[places] | {"OPERATOR_METRICS_PORT": str(unused_tcp_port)}
    limits = pod_under_limits(database_url, settings, on_own_core, tmp_path)
    async with limits as (pod, kind):
        pid = pod.pid
        answers, honest = await attacked(pod, settings["OPERATOR_METRICS_PORT"])
        assert pod.running, f"it was killed: {pod.log[-20:]}"
        peak, used = await peak_memory(pid), processor_seconds(pid)
        faults = unexplained(pod)
    chats, probes, main = honest["chats_ms"], honest["probes_ms"], honest["main_probes_ms"]
    report: dict[str, Any] = {
        "engine": database_url.partition(":")[0], "places": places,
        "seconds": SECONDS, "confined_by": kind, "peak_mib": round(peak / 2**20),
        "limit_mib": shipped_memory() // 2**20, "processor_share": round(used / SECONDS, 2),
        "chats": len(chats), "chat_p50_ms": quantile(chats, 50),
        "chat_p99_ms": quantile(chats, 99), "probes": len(probes),
        "probe_p99_ms": quantile(probes, 99), "probe_max_ms": max(probes),
        "slowest_probes_ms": sorted(probes)[-10:],
        "main_probe_p99_ms": quantile(main, 99), "main_probe_max_ms": max(main),
        "client_lag_ms": honest["own_lag_ms"], "failures": honest["failures"],
        "faults": len(faults), "attacks": answers,
    }  # fmt: skip
    append("attack", report)
    print("\n" + json.dumps(report))  # noqa: T201 - figures that the test prints are its result
    assert not honest["failures"]
    assert not faults, json.dumps(faults[:3])
    assert [name for name, counts in answers.items() if not counts[TRIED]] == []
    assert [name for name, counts in answers.items() if counts["500"]] == []
    assert peak < shipped_memory()
    assert report["chat_p99_ms"] < CHAT_P99_MS
    assert max(probes) < PROBE_MAX_MS
