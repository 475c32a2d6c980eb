"""A search for lost, doubled or reordered facts, while processes and the database are broken.

In the manner of Jepsen: writers and readers work on three processes while a nemesis kills,
stops and cuts. Afterwards all that anybody was told is compared with what is stored.
``CHAOS_SECONDS`` says for how long; ``make chaos`` takes minutes.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.cluster.checks import (
    caught_up,
    check_calls,
    check_chats,
    check_log,
    check_reader,
    events_of,
    history_of,
)
from tests.cluster.clients import Chat, Reader, chat_until_answered
from tests.cluster.conftest import Cluster
from tests.fakes.eventually import eventually

SECONDS = float(os.environ.get("CHAOS_SECONDS", "25"))
SESSIONS = 6
WRITERS = 9
READERS = 12
SETTLE_SECONDS = 40.0
"""After the last fault: a dead owner's lease (10 s), a sweep, and retries."""

pytestmark = pytest.mark.timeout(SECONDS * 3 + 180)


class Nemesis:
    """Breaks things, and mends them again."""

    def __init__(self, cluster: Cluster, chats: list[Chat]) -> None:
        self._cluster = cluster
        self._chats = chats
        self.done: Counter[str] = Counter()
        self.frozen_messages: set[str] = set()
        """Messages under way while a process stood still: its calls go on without it."""

    async def run(self, seconds: float) -> None:
        """Break something every second or two."""
        acts: list[Callable[[], Awaitable[None]]] = [
            self.kill, self.stop, self.cut_backends, self.cut_listeners, self.restart_database,
            self.restart_pod,
        ]  # fmt: skip
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        turn = 0
        while loop.time() < until:
            await asyncio.sleep(random.uniform(0.3, 1.5))  # noqa: S311
            act = acts[turn % len(acts)]
            turn += 1
            await act()
            self.done[act.__name__] += 1

    def _pod(self) -> Any:
        return random.choice(self._cluster.pods)  # noqa: S311

    async def kill(self) -> None:
        pod = self._pod()
        await pod.end(signal.SIGKILL)
        await self._start(pod)

    async def _start(self, pod: Any) -> None:
        for _ in range(20):
            try:
                await pod.start()
                return
            except RuntimeError:  # the database is away: an orchestrator would start it again
                await asyncio.sleep(0.5)  # the pause of an orchestrator
        await pod.start()

    async def stop(self) -> None:
        """Longer than a lease: others take over, and then it wakes up."""
        pod = self._pod()
        self.frozen_messages.update(chat.message for chat in self._chats if chat.answer is None)
        pod.send(signal.SIGSTOP)
        await asyncio.sleep(random.uniform(1.0, 5.0))  # noqa: S311
        self.frozen_messages.update(chat.message for chat in self._chats if chat.answer is None)
        pod.send(signal.SIGCONT)

    async def cut_backends(self) -> None:
        self._terminate("backend_type = 'client backend' AND pid <> pg_backend_pid()")

    async def cut_listeners(self) -> None:
        self._terminate("application_name = 'operator-svc bus'")

    def _terminate(self, which: str) -> None:
        self._cluster.server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}"
        )

    async def restart_database(self) -> None:
        await asyncio.to_thread(self._cluster.server.stop, signal.SIGQUIT)
        await asyncio.sleep(random.uniform(0.0, 1.0))  # noqa: S311
        await asyncio.to_thread(self._cluster.server.start)

    async def restart_pod(self) -> None:
        pod = self._pod()
        assert await pod.end(signal.SIGTERM) == 0, pod.log[-20:]
        await self._start(pod)


async def writer(
    cluster: Cluster, name: int, chats: list[Chat], stop: asyncio.Event, hurry: asyncio.Event
) -> None:
    """Chats one after another; each is asked for until it is answered."""
    number = 0
    while not stop.is_set():
        number += 1
        session = f"s{random.randrange(SESSIONS)}"  # noqa: S311
        chat = Chat(session, f"writer {name} message {number} [[rate=40]]")
        chats.append(chat)
        await chat_until_answered(cluster, chat, hurry)


async def settle(cluster: Cluster) -> None:
    """Wait until nothing is being written any more."""

    def settled() -> bool:
        try:
            rows = cluster.server.execute(
                "SELECT id, owner FROM operator_message WHERE status = 'streaming'",
                cluster.url.partition("@/")[2].partition("?")[0],
            )
        except Exception as error:
            rows = [repr(error)]
        assert rows == [], f"replies are still being written: {rows}"
        return True

    await eventually(settled, SETTLE_SECONDS, every=0.3)


async def test_nothing_is_lost_doubled_or_reordered(cluster: Cluster) -> None:
    chats: list[Chat] = []
    stop, hurry = asyncio.Event(), asyncio.Event()
    nemesis = Nemesis(cluster, chats)
    readers = [Reader(cluster, f"s{n % SESSIONS}", f"r{n}") for n in range(READERS)]
    reading = [asyncio.create_task(reader.run()) for reader in readers]
    writing = [
        asyncio.create_task(writer(cluster, name, chats, stop, hurry)) for name in range(WRITERS)
    ]
    try:
        await nemesis.run(SECONDS)
        stop.set()
        async with asyncio.timeout(SETTLE_SECONDS + 20):
            await asyncio.gather(*writing)
        await settle(cluster)
        logs = {f"s{n}": await events_of(cluster, f"s{n}") for n in range(SESSIONS)}
        stories = {f"s{n}": await history_of(cluster, f"s{n}") for n in range(SESSIONS)}
        await caught_up(readers, logs)
    finally:
        hurry.set()
        for task in (*reading, *writing):
            task.cancel()
        await asyncio.gather(*reading, *writing, return_exceptions=True)

    check_chats(chats, stories)
    for session_id, log in logs.items():
        check_log(log, stories[session_id])
    for reader in readers:
        check_reader(reader, logs[reader.session_id], stories[reader.session_id])
    calls = check_calls(cluster, chats, stories, nemesis.frozen_messages)
    for pod in cluster.pods:
        assert pod.faults() == [], pod.faults()[0].get("exception")
    tell(chats, stories, readers, nemesis, calls)


def tell(
    chats: list[Chat],
    stories: dict[str, list[dict[str, Any]]],
    readers: list[Reader],
    nemesis: Nemesis,
    calls: int,
) -> None:
    """Print what was done and counted."""
    replies = Counter(
        m["status"] for story in stories.values() for m in story if m["role"] == "assistant"
    )
    views = [reader.view for reader in readers]
    print(  # noqa: T201 - it is what a reader of the test's output wants to know
        f"\n{SECONDS:g} s; did {dict(nemesis.done)}"
        f"\nchats {len(chats)}, answered {sum(c.answer is not None for c in chats)},"
        f" attempts {sum(c.attempts for c in chats)}, calls to Switch {calls}"
        f"\nreplies {dict(replies)}"
        f"\nreaders {len(readers)}: connections {sum(r.connections for r in readers)},"
        f" events {sum(len(view.seqs) for view in views)},"
        f" resyncs {sum(view.resyncs for view in views)},"
        f" replies whole by deltas alone {sum(view.whole_by_deltas for view in views)}"
    )
    assert all(chat.answer is not None for chat in chats)
    assert sum(replies.values()) > len(chats) // 2
