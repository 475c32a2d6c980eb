"""A nemesis in the manner of Jepsen: it breaks processes, the network and the database, one thing
after the other, and measures how long clients wait afterwards."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec
import psycopg

from tests.cluster.chaos_cluster import ChaosCluster
from tests.cluster.clients import Chat, chat_until_answered
from tests.cluster.processes import Pod
from tests.fakes.eventually import eventually

RECOVERY_MAX = 5.0
"""Most seconds from the end of a fault until each process answers a chat."""
PROBE_INTERVAL = 0.25
PROBE_LIMIT = 60.0
ACTS = os.environ.get("CHAOS_ACTS", "").split()
"""The names of those acts that are done; all of them where it is empty."""
GRACE = 3.0
"""Seconds after an act in which errors of it may still be logged."""
TTL = 10.0
"""The lease of the processes, in seconds."""
# Longer than a lease without the database, or its renewals among the commits that were lost.
_LEASE_LOST = frozenset({"stop_process", "isolate_process", "fail_over"})
EXPLAINED = {"lease lost": _LEASE_LOST, "replies abandoned": _LEASE_LOST}
"""Events logged as errors, and the acts that they belong to; all others are faults."""

Mend = Callable[[], Awaitable[None]]


class Act(msgspec.Struct):
    """Something that was broken, in the time of the loop."""

    name: str
    begun: float
    mended: float = float("inf")
    recovery: float = float("inf")
    """Seconds from then until each process had answered a chat."""

    def explains(self, event: str, at: float) -> bool:
        """True where an error that was logged then belongs to this act."""
        allowed = self.name in EXPLAINED.get(event, ())
        return allowed and self.begun <= at <= self.mended + max(self.recovery, GRACE)


class OnePod:
    """One process of a cluster, as clients see it."""

    def __init__(self, pod: Pod, http: aiohttp.ClientSession) -> None:
        self.pods = [pod]
        self.http = http


class Nemesis:
    """Breaks things, and mends them. ``patience`` shortens what takes long; 1 is the whole time."""

    def __init__(self, cluster: ChaosCluster, chats: list[Chat], patience: float) -> None:
        self._cluster = cluster
        self._databases = cluster.databases
        self._chats = chats
        self._patience = patience
        self._names = itertools.count()
        self.hurry = asyncio.Event()
        """Set at the end: probes that have no answer give up."""
        self.probes: list[asyncio.Task[None]] = []
        self.acts: list[Act] = []
        self.frozen: set[str] = set()
        """Messages under way while a process stood still or alone, or when commits were lost: its
        calls go on although others have taken over."""
        self.under_way_at_loss: set[str] = set()
        """Those under way when commits were lost: their session may have been among these."""

    async def run(self, seconds: float) -> None:
        """Break something every second or two, each thing as often as the others."""
        kinds: list[Callable[[], Awaitable[Mend | None]]] = [
            self.kill_process, self.restart_process, self.stop_process, self.isolate_process,
            self.skew_clock, self.cut_connections, self.cut_notifications, self.lose_answers,
            self.swallow_answers, self.crash_database, self.switch_over, self.fail_over,
            self.lock_table, self.change_schema,
        ]  # fmt: skip
        if self._databases.pooler is not None:
            kinds.append(self.restart_pooler)
        if self._cluster.nats is not None:
            kinds += self._cluster.nats.acts
        if ACTS:
            kinds = [kind for kind in kinds if kind.__name__ in ACTS]
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            for act in random.sample(kinds, len(kinds)):
                await asyncio.sleep(random.uniform(0.3, 1.5))  # noqa: S311
                if loop.time() >= until:
                    return
                await self._perform(act)

    async def _perform(self, act: Callable[[], Awaitable[Mend | None]]) -> None:
        loop = asyncio.get_running_loop()
        entry = Act(act.__name__, loop.time())
        self.acts.append(entry)
        mend = await act()
        entry.mended = loop.time()
        entry.recovery = await self._recovery()
        if mend is not None:
            await mend()

    async def _recovery(self) -> float:
        """Seconds until each process has answered a chat that was asked from now on."""
        begun = asyncio.get_running_loop().time()
        async with asyncio.timeout(PROBE_LIMIT):
            await asyncio.gather(*(self._first_answer(pod) for pod in self._cluster.pods))
        return asyncio.get_running_loop().time() - begun

    async def _first_answer(self, pod: Pod) -> None:
        front = OnePod(pod, self._cluster.http)
        asked: list[asyncio.Task[None]] = []
        while not any(probe.done() for probe in asked):
            number = next(self._names)
            chat = Chat(f"p{number % 3}", f"probe {number} [[rate=0]]")
            self._chats.append(chat)
            asked.append(
                asyncio.create_task(chat_until_answered(front, chat, self.hurry, pause=0.05))
            )
            await asyncio.wait(asked, timeout=PROBE_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
        self.probes += asked

    def acts_before(self, at: float) -> str:
        """The acts that a fault may belong to, the last one before it and those before that, with
        the seconds from their beginnings to the fault."""
        acts = [act for act in self.acts if act.begun <= at][-3:]
        return ", ".join(f"{act.name} ({at - act.begun:.1f} s)" for act in reversed(acts))

    def _pod(self) -> Pod:
        return random.choice(self._cluster.pods)  # noqa: S311

    def _under_way(self) -> set[str]:
        return {chat.message for chat in self._chats if chat.answer is None}

    def _freeze_calls(self) -> None:
        self.frozen |= self._under_way()

    async def kill_process(self) -> None:
        pod = self._pod()
        await pod.end(signal.SIGKILL)
        await self._start(pod)

    async def restart_process(self) -> None:
        pod = self._pod()
        assert await pod.end(signal.SIGTERM) == 0, pod.log[-20:]
        await self._start(pod)

    async def _start(self, pod: Pod) -> None:
        """Start a process again, as an orchestrator does until it is there: while a database has
        no primary a process ends at once, with status 75."""
        for _ in range(10):
            try:
                await pod.start()
                return
            except RuntimeError:
                await asyncio.sleep(0.5)  # the pause of an orchestrator
        await pod.start()

    async def stop_process(self) -> None:
        """For longer than a lease, half of the time: others take over, and then it wakes up."""
        pod = self._pod()
        self._freeze_calls()
        pod.send(signal.SIGSTOP)
        await asyncio.sleep(self._lease_or_less())
        self._freeze_calls()
        pod.send(signal.SIGCONT)

    async def isolate_process(self) -> None:
        """A process that cannot reach the database, while its clients and Switch reach it."""
        relays = random.choice(self._databases.relays)  # noqa: S311
        self._freeze_calls()
        for relay in relays:
            relay.freeze()
        await asyncio.sleep(self._lease_or_less())
        self._freeze_calls()
        for relay in relays:
            relay.thaw()

    def _lease_or_less(self) -> float:
        longer = random.random() < 0.5 * self._patience  # noqa: S311
        return random.uniform(TTL, TTL + 5) if longer else random.uniform(0.5, 4.0)  # noqa: S311

    async def skew_clock(self) -> None:
        pod, clock = random.choice(self._cluster.clocks)  # noqa: S311
        offset = clock.jump()

        async def jumped() -> bool:
            async with self._cluster.http.get(f"{pod.url}/health/live") as answer:
                shown = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            return abs(shown - time.time() - offset) < 30

        await eventually(jumped, every=0.2)

    async def cut_connections(self) -> None:
        self._terminate("backend_type = 'client backend' AND pid <> pg_backend_pid()")

    async def cut_notifications(self) -> None:
        self._terminate("application_name = 'operator-svc bus'")

    def _terminate(self, which: str) -> None:
        self._databases.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}"
        )

    async def lose_answers(self) -> None:
        """Do what is asked for, and cut the connection before its answer comes."""
        await self._lose(cut=True)

    async def swallow_answers(self) -> None:
        """Do what is asked for, and never let its answer come: the connection stays mute."""
        await self._lose(cut=False)

    async def _lose(self, *, cut: bool) -> None:
        relays = self._databases.all_relays
        for relay in relays:
            relay.lose_answers(lambda _: random.random() < 0.1, cut=cut)  # noqa: S311
        await asyncio.sleep(random.uniform(0.5, 2.0))  # noqa: S311
        for relay in relays:
            relay.lose_answers(lambda _: False)

    async def crash_database(self) -> None:
        await self._databases.restart(random.uniform(0.0, 2.0))  # noqa: S311

    async def switch_over(self) -> Mend:
        await self._databases.switch_over()
        return self._databases.follow

    async def fail_over(self) -> Mend:
        before = self._under_way()
        await self._databases.fail_over(random.uniform(0.3, 2.0))  # noqa: S311
        self.under_way_at_loss |= before | self._under_way()
        self.frozen |= self.under_way_at_loss
        return self._databases.rebuild

    async def lock_table(self) -> None:
        """Somebody's transaction that keeps the busiest table for itself."""
        async with await self._beside() as other:
            await other.execute("LOCK TABLE operator_session IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(12.0 * self._patience)

    async def change_schema(self) -> None:
        """Do what a migration of a newer version may do, while all are at work."""
        table = random.choice(  # noqa: S311
            ("operator_session", "operator_message", "operator_event", "operator_pod")
        )
        name = f"added_{next(self._names)}"
        alter = f"ALTER TABLE {table} ADD COLUMN {name} integer NOT NULL DEFAULT 0"
        async with await self._beside() as other:
            await other.execute(alter.encode())
            await asyncio.sleep(random.uniform(0.0, 0.5))  # noqa: S311 - as a slow migration
        async with await self._beside() as other:
            await other.execute(f"ALTER TABLE {table} DROP COLUMN {name}".encode())

    async def _beside(self) -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(self._databases.url)

    async def restart_pooler(self) -> None:
        assert self._databases.pooler is not None
        await asyncio.to_thread(self._databases.pooler.restart)
