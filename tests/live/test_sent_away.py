"""Many clients are sent away a few at a time: by a process that stops, with their token, by a
switch-over, and with their session."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from operator_svc.background import AT_ONCE, TaskOwner
from operator_svc.db import Database
from operator_svc.models import Caller
from operator_svc.protocol.frames import CloseCode
from operator_svc.services.auth import Tokens
from operator_svc.services.byte_budget import ByteBudget
from operator_svc.services.live.clients import ClientRegistry
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.live.send_queue import SendQueue
from operator_svc.settings import Settings
from tests.fakes.eventually import eventually
from tests.fakes.hubs import hub_over


class Turns:
    """Counts the turns of the event loop, and the calls in each."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: Counter[tuple[str, int]] = Counter()

    async def run(self) -> None:
        while True:
            self.now += 1
            await asyncio.sleep(0)

    def note(self, call: str) -> None:
        self.calls[call, self.now] += 1

    def most(self, call: str) -> int:
        """The most calls in one turn."""
        return max(count for (kind, _), count in self.calls.items() if kind == call)


class Watcher:
    """A client that leaves some time after it is sent away."""

    transport_name = "websocket"
    must_poll = False

    def __init__(self, registry: ClientRegistry, turns: Turns) -> None:
        self.caller: Caller | None = None
        self._registry = registry
        self._turns = turns
        self.closes = 0

    def poll_closed(self) -> None: ...

    def heartbeat(self) -> None: ...

    def has_local_reply(self) -> bool:
        return False

    def send_draining(self, reconnect_in_ms: int) -> None:
        self._turns.note("told")

    def close(self, code: CloseCode) -> None:
        self._turns.note("closed")
        self.closes += 1
        if self.closes == 1:
            asyncio.get_running_loop().call_later(0.2, self._registry.leave, self)


def entered(registry: ClientRegistry, turns: Turns) -> list[Watcher]:
    """Clients that are ten times as many as go at once."""
    watchers = [Watcher(registry, turns) for _ in range(10 * AT_ONCE)]
    for watcher in watchers:
        registry.enter(watcher)
    return watchers


@pytest.fixture
async def turns() -> AsyncIterator[Turns]:
    counted = Turns()
    counting = asyncio.create_task(counted.run())
    yield counted
    counting.cancel()


async def test_many_clients_are_sent_away_in_many_turns_of_the_loop_and_once_each(
    turns: Turns,
) -> None:
    async with TaskOwner("test") as tasks:
        registry = ClientRegistry(tasks, Settings())
        watchers = entered(registry, turns)
        await registry.drain(10.0)
        assert len(registry) == 0
    assert {watcher.closes for watcher in watchers} == {1}
    assert turns.most("told") <= 2 * AT_ONCE
    assert turns.most("closed") <= 2 * AT_ONCE


async def test_many_clients_of_a_token_that_is_gone_are_closed_in_many_turns(turns: Turns) -> None:
    async with TaskOwner("test") as tasks:
        registry, tokens = ClientRegistry(tasks, Settings()), Tokens(Settings(token="known"))
        gone, stay = entered(registry, turns), entered(registry, turns)
        for watcher in gone:
            watcher.caller = Caller("gone", "client")
        for watcher in stay:
            watcher.caller = tokens.find("known")
        registry.close_revoked(tokens)
        await eventually(lambda: len(registry) == len(stay))
    assert {watcher.closes for watcher in gone} == {1}
    assert {watcher.closes for watcher in stay} == {0}
    assert turns.most("closed") <= 2 * AT_ONCE


class Reader:
    """The sink of a client of a session."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.frames: list[bytes] = []
        self.ends: list[str] = []

    def writable(self) -> bool:
        return True

    def encode(self, frame: bytes, seq: int | None) -> bytes:
        return frame

    def write(self, encoded: bytes) -> None:
        self.frames.append(encoded)

    async def drain(self) -> None: ...

    def disconnect_slow(self) -> None:
        self._end("slow")

    def state_changed(self) -> None:
        self._end("changed")

    def session_deleted(self) -> None:
        self._end("deleted")

    def _end(self, reason: str) -> None:
        self._turns.note(reason)
        self.ends.append(reason)


@pytest.fixture
async def hub(sqlite_database: Database) -> AsyncIterator[SessionHub]:
    async with TaskOwner("test") as tasks:
        started = hub_over(sqlite_database, tasks)
        started.start()
        yield started


async def watched(hub: SessionHub, turns: Turns, *, sessions: int) -> list[Reader]:
    """Clients that are ten times as many as go at once, of so many sessions."""
    readers = [Reader(turns) for _ in range(10 * AT_ONCE)]
    tasks, budget = TaskOwner("unused"), ByteBudget(10**9)
    for number, reader in enumerate(readers):
        feed = await hub.open_feed(f"s{number % sessions}")
        feed.subscribers.add(SendQueue(reader, tasks, 10**6, budget))
    return readers


async def test_a_switch_over_sends_clients_away_in_many_turns_and_shows_them_nothing_more(
    hub: SessionHub, turns: Turns
) -> None:
    readers = await watched(hub, turns, sessions=10)
    hub.invalidate_all()
    news = LiveEvent("s9", 1, "message.created", datetime.now(UTC), {"message_id": 1})
    hub.publish("s9", news)
    await eventually(lambda: all(reader.ends for reader in readers))
    assert {(*reader.ends, *reader.frames) for reader in readers} == {("changed",)}
    assert turns.most("changed") <= 2 * AT_ONCE


async def test_a_client_that_cannot_be_sent_away_keeps_no_other_one(
    hub: SessionHub, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = await watched(hub, turns, sessions=10)

    def fail() -> None:
        raise RuntimeError("a fault of the connection")

    for reader in readers[::100]:
        monkeypatch.setattr(reader, "state_changed", fail)
    hub.invalidate_all()
    others = [reader for number, reader in enumerate(readers) if number % 100]
    await eventually(lambda: all(reader.ends for reader in others))
    assert {(*reader.ends,) for reader in others} == {("changed",)}


async def test_the_clients_of_a_deleted_session_are_told_in_many_turns_and_once_each(
    hub: SessionHub, turns: Turns
) -> None:
    readers = await watched(hub, turns, sessions=1)
    hub.session_deleted("s0")
    hub.session_deleted("s0")
    await eventually(lambda: all(reader.ends for reader in readers))
    assert {(*reader.ends, len(reader.frames)) for reader in readers} == {("deleted", 1)}
    assert turns.most("deleted") <= 2 * AT_ONCE
