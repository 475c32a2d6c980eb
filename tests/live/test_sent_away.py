"""Many clients are sent away a few at a time: by a process that stops, and with their token."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from operator_svc.background import TaskOwner
from operator_svc.models import Caller
from operator_svc.protocol.frames import CloseCode
from operator_svc.services.auth import Tokens
from operator_svc.services.live.clients import AT_ONCE, ClientRegistry
from operator_svc.settings import Settings
from tests.fakes.eventually import eventually


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
