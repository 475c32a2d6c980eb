"""Processes that hear one another by each of the buses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from operator_svc.app import Operator
from tests.fakes.eventually import eventually
from tests.fakes.nats_server import NatsRelay, NatsServer
from tests.fakes.pods import Pods, pods


class NatsPods(Pods):
    """Pods on one PostgreSQL and one server of NATS."""

    def __init__(self, url: str, bus_url: str) -> None:
        super().__init__(url)
        self.bus_url = bus_url

    async def start(self, **settings: Any) -> Operator:
        operator = await super().start(**({"bus_url": self.bus_url} | settings))
        await eventually(lambda: not operator.core.bus.degraded)
        return operator


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    """A server for all tests of a module; who stops it starts it again."""
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


__all__ = ["pods"]
