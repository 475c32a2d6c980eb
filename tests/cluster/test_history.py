"""A search for lost, doubled or reordered facts, while processes and the database are broken.

In the manner of Jepsen: writers and readers work on three processes while a nemesis kills,
stops and cuts. Afterwards all that anybody was told is compared with what is stored.
``CHAOS_SECONDS`` says for how long; ``make chaos`` takes minutes, and keeps its counts in
``bench/results/chaos.jsonl``.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.results import append
from tests.cluster.chaos_cluster import ChaosCluster, chaos_cluster
from tests.cluster.checks import (
    caught_up,
    check_calls,
    check_chats,
    check_log,
    check_reader,
    events_of,
    history_of,
)
from tests.cluster.clients import Chat, Reader, begin_and_leave, cancel, chat_until_answered
from tests.cluster.databases import WAYS, Way
from tests.cluster.nemesis import RECOVERY_MAX, Nemesis
from tests.cluster.processes import Pod
from tests.fakes.eventually import eventually

KEPT = "CHAOS_SECONDS" in os.environ
"""True for runs that are started by hand: their counts are kept."""
SECONDS = float(os.environ.get("CHAOS_SECONDS", "10"))
PATIENCE = min(1.0, SECONDS / 120)
"""Short runs shorten what takes long."""
SESSIONS = 6
WRITERS = 9
READERS = 12
SLOW_READERS = 2
SETTLE_SECONDS = 40.0
"""After the last fault: a dead owner's lease (10 s), a sweep, and retries."""

pytestmark = pytest.mark.timeout(SECONDS * 3 + 240)


class Run:
    """Writers, readers and a nemesis at work, and what came of it."""

    def __init__(self, cluster: ChaosCluster) -> None:
        self.cluster = cluster
        self.chats: list[Chat] = []
        self.nemesis = Nemesis(cluster, self.chats, PATIENCE)
        names = [f"s{n}" for n in range(SESSIONS)]
        self.readers = [Reader(cluster, names[n % SESSIONS], f"r{n}") for n in range(READERS)]
        self.readers += [Reader(cluster, names[n], f"slow{n}", _now_and_then)
                         for n in range(SLOW_READERS)]  # fmt: skip
        self.stories: dict[str, list[dict[str, Any]]] = {}
        self.violations: list[str] = []
        self.calls = 0
        self._stop = asyncio.Event()

    async def work(self, seconds: float) -> None:
        """Write and read while the nemesis is at work; then let everything end, and judge."""
        reading = [asyncio.create_task(reader.run()) for reader in self.readers]
        writing = [asyncio.create_task(self._write(name)) for name in range(WRITERS)]
        try:
            await self.nemesis.run(seconds)
            self._stop.set()
            async with asyncio.timeout(SETTLE_SECONDS + 20):
                await asyncio.gather(*writing, *self.nemesis.probes)
            await self._settle()
            await self._judge()
        except BaseException as error:
            self.violations.append(f"the run broke off: {error!r}")
            raise
        finally:
            self.nemesis.hurry.set()
            tasks = (*reading, *writing, *self.nemesis.probes)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, name: int) -> None:
        """Chats one after another; each is asked for until it is answered. Of some the client
        goes away first, and some are cancelled."""
        number = 0
        while not self._stop.is_set():
            number += 1
            session = f"s{random.randrange(SESSIONS)}"  # noqa: S311
            kind = random.choices(("stay", "leave", "cancel"), (8, 1, 1))[0]  # noqa: S311
            long = "[[tokens=150]]" if kind == "cancel" else ""
            chat = Chat(session, f"writer {name} message {number} [[rate=40]]{long}")
            self.chats.append(chat)
            if kind != "stay":
                reply_id = await begin_and_leave(self.cluster, chat)
                await asyncio.sleep(random.random())  # noqa: S311
                if kind == "cancel" and reply_id is not None:
                    await cancel(self.cluster, chat, reply_id)
            await chat_until_answered(self.cluster, chat, self.nemesis.hurry)

    async def _settle(self) -> None:
        """Wait until nothing is being written any more, and all have NATS again."""

        async def settled() -> bool:
            rows = await self.cluster.execute(
                "SELECT id, owner FROM operator_message WHERE status = 'streaming'"
            )
            assert rows == [], f"replies are still being written: {rows}"
            return True

        await eventually(settled, SETTLE_SECONDS, every=0.3)
        if self.cluster.nats is not None:
            await self.cluster.nats.mended()
            for pod in self.cluster.pods:
                await eventually(partial(self._healthy, pod), SETTLE_SECONDS, every=0.3)

    async def _healthy(self, pod: Pod) -> bool:
        async with self.cluster.http.get(f"{pod.url}/health") as answer:
            return bool((await answer.json())["status"] == "ok")

    async def _judge(self) -> None:
        """Compare all that anybody was told with what is stored."""
        sessions = {chat.session_id for chat in self.chats} | {f"s{n}" for n in range(SESSIONS)}
        logs = {name: await events_of(self.cluster, name) for name in sessions}
        self.stories = {name: await history_of(self.cluster, name) for name in sessions}
        try:
            await caught_up(self.readers, logs)
        except AssertionError as error:
            self.violations.append(str(error)[:500])
        lost = self.cluster.databases.lost
        self._check(check_chats, self.chats, self.stories, lost)
        for name, log in logs.items():
            self._check(check_log, log, self.stories[name])
        for one in self.readers:
            session = one.session_id
            self._check(check_reader, one, logs[session], self.stories[session])
        self._check(self._check_calls)
        self._note_faults()

    def _check_calls(self) -> None:
        lost = self.cluster.databases.lost
        frozen = self.nemesis.frozen
        self.calls = check_calls(self.cluster, self.chats, self.stories, frozen, lost)

    def _check(self, check: Callable[..., None], *args: Any) -> None:
        try:
            check(*args)
        except AssertionError as error:
            self.violations.append(str(error)[:500])

    def _note_faults(self) -> None:
        """Note answers and log lines that are faults of the service, and slow recoveries."""
        self.violations += [f"unanswered: {c.message}" for c in self.chats if c.answer is None]
        for chat in self.chats:
            for told in chat.faults:
                gone = told["error"] in ("session_not_found", "reply_not_found")
                if not gone or chat.message not in self.nemesis.under_way_at_loss:
                    self.violations.append(f"{chat.message} was answered {told}")
        for entry in self._errors():
            if not any(act.explains(entry["event"], entry["heard"]) for act in self.nemesis.acts):
                acts = self.nemesis.acts_before(entry["heard"])
                self.violations.append(f"logged {_shown(entry)} after {acts}")
        for act in self.nemesis.acts:
            if act.recovery > RECOVERY_MAX:
                self.violations.append(f"{act.recovery:.1f} s to recover from {act.name}")

    def _errors(self) -> list[dict[str, Any]]:
        return [entry for pod in self.cluster.pods for entry in pod.faults()]

    def counts(self) -> dict[str, Any]:
        """The acts of the run, and its counts."""
        chats, readers, acts = self.chats, self.readers, self.nemesis.acts
        stored = [m for story in self.stories.values() for m in story if m["role"] == "assistant"]
        lost = self.cluster.databases.lost
        names = sorted({act.name for act in acts})
        return {
            "acts": dict(Counter(act.name for act in acts)),
            "recovery_seconds": {
                name: round(max(act.recovery for act in acts if act.name == name), 2)
                for name in names
            },
            "chats": len(chats),
            "answered": sum(chat.answer is not None for chat in chats),
            "answers": dict(Counter(str(seen) for chat in chats for seen in chat.seen)),
            "calls": self.calls,
            "replies": dict(Counter(m["status"] for m in stored)),
            "failures": dict(Counter(_reason(m) for m in stored if m["status"] == "failed")),
            "lost": {"messages": len(lost.messages), "ends": len(lost.ends)},
            "readers": len(readers),
            "connections": sum(reader.connections for reader in readers),
            "events": sum(len(reader.view.events) for reader in readers),
            "resyncs": sum(reader.view.resyncs for reader in readers),
            **({"nats": self.cluster.nats.counts()} if self.cluster.nats is not None else {}),
            "errors": dict(Counter(entry["event"] for entry in self._errors())),
            "violations": self.violations,
        }


def _now_and_then() -> float:
    """A pause of a slow reader: none after most frames, and long ones after some."""
    return random.uniform(0.5, 1.5) if random.random() < 0.01 else 0.0  # noqa: S311


def _reason(failed: dict[str, Any]) -> str:
    """Why a reply failed."""
    metadata = failed["metadata"] or {}
    return str(metadata.get("detail") or metadata.get("error"))


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value)[-1500:] for key, value in entry.items()}


@pytest.mark.parametrize("way", WAYS if KEPT else ("direct", "nats"))
async def test_nothing_is_lost_doubled_or_reordered(way: Way, tmp_path: Path) -> None:
    async with chaos_cluster(way, tmp_path) as cluster:
        run = Run(cluster)
        try:
            await run.work(SECONDS)
        except BaseException:
            for pod in cluster.pods:
                print(pod.url, *pod.log[-20:], sep="\n")  # noqa: T201
            if (pooler := cluster.databases.pooler) is not None:
                print(pooler.log[-5000:])  # noqa: T201
            raise
        finally:
            counts = run.counts()
            print("", *(f"{name}: {value}" for name, value in counts.items()), sep="\n")  # noqa: T201
            if KEPT:
                append("chaos", {"database": way, "seconds": SECONDS, **counts})
    assert run.violations == []
    assert counts["chats"] > SECONDS
