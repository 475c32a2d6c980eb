"""The time until clients hear that a reply's process has died, and those who are left alone.

``DEATHS`` says how many processes are killed and ``CUTS`` how many connections are cut; where
they are given, what was measured is kept in ``bench/results/deaths.jsonl``.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from bench.results import append
from tests.cluster.clients import Chat, Reader, chat_until_answered
from tests.cluster.conftest import Cluster
from tests.cluster.processes import Pod
from tests.fakes.eventually import eventually

DEATHS = int(os.environ.get("DEATHS", "3"))
CUTS = int(os.environ.get("CUTS", "8"))
BOUND = 3.0
"""Seconds from a process's death until every client has its replies' last event (api.md)."""
REPLIES = 6
READERS = 12
WRITERS = 3

pytestmark = pytest.mark.timeout(240 + DEATHS * 20 + CUTS * 2)


async def begin(cluster: Cluster, pod: Pod, number: int, tokens: int = 2000) -> int:
    """Begin a long reply on a pod; its id."""
    body = {"session_id": f"s{number}", "message": f"[[rate=20]][[tokens={tokens}]]"}
    async with cluster.http.post(
        f"{pod.url}/operator/chat", json=body, headers={"Prefer": "respond-async"}
    ) as answer:
        assert answer.status == 202, await answer.text()
        return int((await answer.json())["reply_id"])


@asynccontextmanager
async def reading(cluster: Cluster) -> AsyncIterator[list[Reader]]:
    """Readers of all sessions, on any pod, and a load of short chats beside them."""
    readers = [Reader(cluster, f"s{n % REPLIES}", f"r{n}") for n in range(READERS)]
    stop = asyncio.Event()

    async def load(name: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            chat = Chat(f"load{name}", f"writer {name} message {number} [[rate=0]]")
            await chat_until_answered(cluster, chat, stop)

    tasks = [asyncio.create_task(reader.run()) for reader in readers]
    tasks += [asyncio.create_task(load(name)) for name in range(WRITERS)]
    try:
        yield readers
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for reader in readers:
        assert reader.problems == [], reader.name


def heard(readers: list[Reader], replies: list[int], event: str) -> bool:
    """Each reader has this as the last event of its session's reply."""
    return all(
        reader.view.endings.get(replies[n % REPLIES]) == event for n, reader in enumerate(readers)
    )


async def kill(cluster: Cluster, victim: Pod, readers: list[Reader]) -> float:
    """Kill a pod that writes a reply for each reader; after how many seconds all know."""
    replies = [await begin(cluster, victim, n) for n in range(REPLIES)]
    shown = [(reader, replies[n % REPLIES]) for n, reader in enumerate(readers)]
    await eventually(lambda: all(reader.view.texts.get(reply) for reader, reply in shown))
    await asyncio.sleep(random.random())  # noqa: S311 - at any time since its lease's renewal
    died = time.monotonic()
    await victim.end(signal.SIGKILL)
    await eventually(lambda: heard(readers, replies, "reply.interrupted"))
    return time.monotonic() - died


@pytest.mark.measures_time
async def test_clients_hear_of_a_death_within_the_published_bound(cluster: Cluster) -> None:
    took: list[float] = []
    try:
        async with reading(cluster) as readers:
            await asyncio.sleep(6.0)  # pods find others dead once they have been there for a while
            for number in range(DEATHS):
                victim = cluster.pods[number % len(cluster.pods)]
                took.append(await kill(cluster, victim, readers))
                await victim.start()
    finally:
        took.sort()
        if "DEATHS" in os.environ:
            print(f"\n{len(took)} deaths, seconds: {took}")  # noqa: T201
            kept = [round(seconds, 2) for seconds in took]
            append("deaths", {"deaths": len(took), "of": DEATHS, "seconds": kept})
    assert took[-1] < BOUND


async def test_a_cut_of_the_connection_for_notifications_interrupts_nobody(
    cluster: Cluster,
) -> None:
    async with reading(cluster) as readers:
        replies = [
            await begin(cluster, cluster.pods[n % 3], n, tokens=140 + CUTS * 20)
            for n in range(REPLIES)
        ]
        await asyncio.sleep(6.0)  # pods judge others once they have been there for a while
        for _ in range(CUTS):
            await cluster.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'operator-svc bus' ORDER BY random() LIMIT 1"
            )
            await asyncio.sleep(random.uniform(0.1, 0.9))  # noqa: S311
        await eventually(lambda: heard(readers, replies, "reply.completed"), 60.0 + CUTS)
    lost = sum([await cluster.metric(pod, "operator_leases_lost_total") for pod in cluster.pods])
    if "CUTS" in os.environ:
        append("deaths", {"cuts": CUTS, "leases_lost": lost})
    assert lost == 0


async def test_a_table_that_somebody_locks_for_long_interrupts_nobody(cluster: Cluster) -> None:
    async with reading(cluster) as readers:
        replies = [await begin(cluster, cluster.pods[n % 3], n, tokens=320) for n in range(REPLIES)]
        await eventually(lambda: all(len(reader.view.texts) == 1 for reader in readers))

        def lock() -> None:
            name = cluster.url.partition("@/")[2].partition("?")[0]
            with psycopg.connect(cluster.server.url(name)) as other:
                other.execute("LOCK TABLE operator_session IN ACCESS EXCLUSIVE MODE")
                time.sleep(12.0)  # longer than a lease

        await asyncio.to_thread(lock)
        await eventually(lambda: heard(readers, replies, "reply.completed"), 60.0)
    for pod in cluster.pods:
        assert await cluster.metric(pod, "operator_leases_lost_total") == 0
