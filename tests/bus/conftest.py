"""Processes that hear one another by each of the buses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from operator_svc.app import Operator
from tests.fakes.eventually import eventually
from tests.fakes.nats_server import NatsRelay, NatsServer
from tests.fakes.pods import Pods, Reader, chat, pods, watch


class NatsPods(Pods):
    """Pods on one PostgreSQL and one server of NATS."""

    def __init__(self, url: str, bus_url: str) -> None:
        super().__init__(url)
        self.bus_url = bus_url

    async def start(self, **settings: Any) -> Operator:
        operator = await super().start(**({"bus_url": self.bus_url} | settings))
        await eventually(lambda: not operator.core.bus.degraded)
        return operator


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """A server for all tests; who stops it starts it again."""
    server = NatsServer()
    yield server
    server.remove()


@pytest.fixture
async def relay(nats_server: NatsServer) -> AsyncIterator[NatsRelay]:
    """A relay before that server, for one test."""
    async with NatsRelay(nats_server) as one:
        yield one


@pytest.fixture
async def nats_pods(postgresql_url: str, relay: NatsRelay) -> AsyncIterator[NatsPods]:
    """Pods that reach NATS through the relay."""
    async with aclosing(NatsPods(postgresql_url, relay.url)) as some:
        yield some


@pytest.fixture(params=["local", "postgresql", "nats"])
async def bus_pods(request: pytest.FixtureRequest) -> AsyncIterator[Pods]:
    """Two pods on each bus; on the local one, which serves a single process, it is one."""
    if request.param == "local":
        made = Pods(request.getfixturevalue("sqlite_url"))
    elif request.param == "postgresql":
        made = Pods(request.getfixturevalue("postgresql_url"))
    else:
        server = request.getfixturevalue("nats_server")
        made = NatsPods(request.getfixturevalue("postgresql_url"), server.url)
    async with aclosing(made) as some:
        for _ in range(1 if request.param == "local" else 2):
            await some.start()
        yield some


async def talk(pods: Pods, session_id: str) -> Reader:
    """Chat on the first pod; a reader of the last one that has seen the end."""
    reader = await watch(pods.all[-1], session_id)
    accepted = await chat(pods.all[0], session_id=session_id)
    pods.switch.say("some ", "text", None)
    await reader.until(lambda: accepted.reply_id in reader.endings)
    assert reader.texts[accepted.reply_id] == "some text"
    assert reader.seqs == [1, 2, 3, 4]
    return reader


__all__ = ["pods"]
