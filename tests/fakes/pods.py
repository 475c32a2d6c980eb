"""Several pods in one process on one database, and readers in that process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec
import pytest

from operator_svc import lifecycle
from operator_svc.app import Operator
from operator_svc.models import Caller
from operator_svc.protocol.chat import Chat
from operator_svc.services.chat.running_replies import Accepted
from operator_svc.services.live.send_queue import SendQueue
from operator_svc.services.live.subscriptions import Subscription
from operator_svc.settings import Settings
from tests.fakes.client_view import ClientView, Frame
from tests.fakes.eventually import WITHIN, eventually
from tests.fakes.scripted_switch import ScriptedSwitch
from tests.fakes.started import BROWSER_AWAY, LEASE_TTL, started

ANYBODY = Caller("tests")

BLOCKED_SECONDS = 60.0
"""Seconds that a reader may be blocked: longer than any test."""
BRIEF_LEASE = 2.0
"""Seconds of a lease that a test waits for the end of."""


class Reader(ClientView):
    """A client in this process, which can stop reading."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.writes: list[int] = []
        """The bytes of each write."""
        self.gone_at = False
        self.blocked = False
        self.take_bytes: int | None = None
        """Bytes after which the reader stops reading by itself."""
        self.cut_off = False
        self.subscription: Subscription | None = None

    def writable(self) -> bool:
        return not self.blocked

    def encode(self, frame: bytes, seq: int | None) -> bytes:
        return frame + b"\n"

    def write(self, encoded: bytes) -> None:
        self.writes.append(len(encoded))
        for frame in encoded.splitlines():
            told = msgspec.json.decode(frame)
            self.frames.append(told)
            self.take(told)
        if self.take_bytes is not None and sum(self.writes) >= self.take_bytes:
            self.blocked = True

    async def drain(self) -> None:
        await eventually(lambda: not self.blocked, BLOCKED_SECONDS)

    def disconnect_slow(self) -> None:
        self.cut_off = True

    def state_changed(self) -> None:
        self.cut_off = True

    def session_deleted(self) -> None:
        self.gone_at = True

    def types(self) -> list[str]:
        return [f["type"] for f in self.frames]

    async def until(self, what: Callable[[], Any], within: float = WITHIN) -> None:
        await eventually(what, within, every=0.005)


class Pods:
    """Some pods on one database and one bus, each with the same scripted Switch."""

    def __init__(self, url: str, bus_url: str = "") -> None:
        self.url = url
        self.bus_url = bus_url
        self.switch = ScriptedSwitch()
        self.all: list[Operator] = []

    async def start(self, *, connected: bool = True, **settings: Any) -> Operator:
        """One more pod, which hears the others unless it need not be ``connected``."""
        quick: dict[str, Any] = {"tick": 0.02, "chat_rate": 0, "auth": "off"}
        quick |= {"lease_ttl": LEASE_TTL, "bus_url": self.bus_url, "browser_url": BROWSER_AWAY}
        configured = Settings(database_url=self.url, **(quick | settings))
        begin = started if connected else lifecycle.start
        operator = await begin(configured, switch=self.switch)
        self.all.append(operator)
        return operator

    async def kill(self, operator: Operator) -> None:
        """As SIGKILL would: nothing more is written, nothing is given up."""
        await operator.core.tasks.aclose()
        self.all.remove(operator)
        await operator.core.bus.aclose()
        await operator.core.peers.switch.aclose()
        await operator.core.database.aclose()

    async def aclose(self) -> None:
        for operator in self.all:
            await lifecycle.close(operator)


@pytest.fixture
async def pods(database_url: str) -> AsyncIterator[Pods]:
    async with aclosing(Pods(database_url)) as some:
        yield some


@pytest.fixture
async def shared(postgresql_url: str, bus_url: str) -> AsyncIterator[Pods]:
    """Pods that hear one another: the test runs once by each bus that they can do it by."""
    async with aclosing(Pods(postgresql_url, bus_url)) as some:
        yield some


async def all_until(
    readers: Iterable[Reader], what: Callable[[Reader], Any], within: float = WITHIN
) -> None:
    for reader in readers:
        await reader.until(partial(what, reader), within)


async def watch(
    operator: Operator, session_id: str, *, after: int | None = None, epoch: str | None = None
) -> Reader:
    reader = Reader()
    send_queue = SendQueue(
        reader,
        operator.core.tasks,
        operator.core.settings.outbox_bytes,
        operator.services.byte_budget,
    )
    reader.subscription = await operator.services.subscriptions.open(session_id, send_queue)
    if after is None:
        reader.subscription.join()
    else:
        await reader.subscription.resume(after, epoch)
    return reader


async def chat(operator: Operator, message: str = "hi", **fields: Any) -> Accepted:
    return await operator.services.chats.start(ANYBODY, Chat(message=message, **fields))


async def say(pods: Pods, pod: Operator, *pieces: str) -> None:
    """One whole chat in the session s."""
    accepted = await chat(pod, session_id="s")
    pods.switch.say(*pieces, None)
    assert await pod.services.replies.wait(accepted) is not None


async def epoch_of(pod: Operator) -> str:
    """The epoch of the session s."""
    return (await pod.services.sessions.get(ANYBODY, "s")).epoch
