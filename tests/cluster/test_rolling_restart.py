"""A release as Kubernetes does it: each process in turn, behind a balancer, while clients work."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from functools import partial
from typing import Any

import aiohttp

from tests.cluster.balancer import Balanced, Balancer
from tests.cluster.checks import (
    caught_up,
    check_calls,
    check_chats,
    check_log,
    check_reader,
    events_of,
    history_of,
)
from tests.cluster.clients import Chat, Reader, chat_until_answered, end_all
from tests.cluster.conftest import Cluster
from tests.cluster.processes import TOKEN
from tests.fakes.eventually import eventually

SESSIONS = 20
WRITERS = 16
READERS = 100
LEAVING = 20
"""Readers whose connection breaks off once all pods are new, so that the last one gets some."""
LONG = 4
"""Of so many chats one has a reply of two seconds, so that some are under way at each end."""


async def test_clients_behind_a_balancer_lose_nothing(cluster: Cluster) -> None:
    balancer = Balancer(cluster.pods)
    await balancer.start()
    front = Balanced(balancer, cluster.http)
    # Half of the writers keep their connections, the others open one for each chat.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    anew = aiohttp.ClientSession(headers={"X-VX11-Token": TOKEN}, connector=connector)
    fronts = [front, Balanced(balancer, anew)]
    readers = [Reader(front, f"s{n % SESSIONS}", f"r{n}") for n in range(READERS)]
    reading = [asyncio.create_task(reader.run()) for reader in readers]
    stop, hurry = asyncio.Event(), asyncio.Event()
    chats: list[Chat] = []

    async def write(number: int) -> None:
        while not stop.is_set():
            many = "[[tokens=100]]" if len(chats) % LONG == 0 else ""
            session = f"s{(number + len(chats)) % SESSIONS}"
            chat = Chat(session, f"message {len(chats)} [[rate=50]]{many}")
            chats.append(chat)
            await chat_until_answered(fronts[number % 2], chat, hurry)

    writing = [asyncio.create_task(write(number)) for number in range(WRITERS)]
    try:
        await eventually(lambda: all(reader.connections for reader in readers))
        at_ends = await _restart_each(cluster, balancer, chats)
        await asyncio.gather(*(reader.leave() for reader in readers[:LEAVING]))
        await asyncio.sleep(1.0)  # chats without these readers
        stop.set()
        async with asyncio.timeout(30):
            await asyncio.gather(*writing)
        names = [f"s{n}" for n in range(SESSIONS)]
        logs = {name: await events_of(cluster, name) for name in names}
        stories = {name: await history_of(cluster, name) for name in names}
        await caught_up(readers, logs)
        delays = [await cluster.metric(p, "operator_bus_delay_seconds_count") for p in cluster.pods]
        served = [await cluster.metric(pod, "operator_chats_total") for pod in cluster.pods]
    finally:
        stop.set()
        hurry.set()
        await end_all(*reading, *writing)
        await anew.close()
        await balancer.aclose()

    replies = Counter(m["status"] for story in stories.values() for m in story if m["reply_to"])
    _tell(chats, readers, balancer, (at_ends, served, delays, dict(replies)))
    _check_answered(cluster, chats, stories)
    assert set(replies) == {"complete"}
    # No event is missing, doubled or out of order for anybody, without any resync.
    for name, log in logs.items():
        check_log(log, stories[name])
    for reader in readers:
        _check_unbroken(reader, logs[reader.session_id], stories[reader.session_id])
    # It was what it was meant to be: replies under way at each end, and all pods in use.
    assert all(at_ends)
    assert all(balancer.taken_out[pod.url] for pod in cluster.pods)
    assert min(*served, *delays) > 0
    for pod in cluster.pods:
        assert pod.faults() == [], pod.faults()[0].get("exception")


async def _restart_each(cluster: Cluster, balancer: Balancer, chats: list[Chat]) -> list[int]:
    """Restart all pods, one after the other; the chats that were under way at each end."""
    at_ends: list[int] = []
    for pod in cluster.pods:
        at_ends.append(sum(chat.answer is None for chat in chats))
        assert await pod.end(signal.SIGTERM) == 0, pod.log[-10:]
        await pod.start()
        await eventually(partial(balancer.is_up, pod))
        await asyncio.sleep(0.5)  # chats at the new pod, too
    return at_ends


def _check_answered(
    cluster: Cluster, chats: list[Chat], stories: dict[str, list[dict[str, Any]]]
) -> None:
    """No chat fails, and each key stands for one call to Switch, which completed."""
    assert [chat.message for chat in chats if chat.answer is None] == []
    check_chats(chats, stories)
    assert check_calls(cluster, chats, stories) == len(chats)
    by_message = cluster.peers.switch.by_message
    assert {by_message[chat.message].finished for chat in chats} == {1}


def _check_unbroken(reader: Reader, log: list[dict[str, Any]], story: list[dict[str, Any]]) -> None:
    """The reader was shown the whole log, in order and without a resync."""
    check_reader(reader, log, story)
    assert reader.view.resyncs == 0
    assert reader.view.seqs == list(range(1, len(log) + 1))
    assert reader.connections >= 2, "all pods were restarted, so everybody came back"


def _tell(
    chats: list[Chat], readers: list[Reader], balancer: Balancer, counted: tuple[Any, ...]
) -> None:
    at_ends, served, delays, replies = counted
    shown = sum(len(reader.view.seqs) for reader in readers)
    print(  # noqa: T201 - what was counted is part of what the test is for
        f"\n{len(chats)} chats, answered {sum(chat.answer is not None for chat in chats)};"
        f" attempts {sum(chat.attempts for chat in chats)}:"
        f" {dict(Counter(str(seen) for chat in chats for seen in chat.seen))}"
        f"\nreaders {len(readers)}: connections {sum(reader.connections for reader in readers)},"
        f" events shown {shown}, resyncs {sum(reader.view.resyncs for reader in readers)}"
        f"\nbalancer: handed {list(balancer.handed.values())},"
        f" refused {sum(balancer.refused.values())}, taken out {sum(balancer.taken_out.values())}"
        f"\n{at_ends} chats were under way at the signals; replies {replies}"
        f"\nby pod since its restart: chats {served}, news of others {delays}"
    )
