"""Processes that hear one another by each of the buses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from tests.fakes.nats_server import NatsRelay, NatsServer
from tests.fakes.pods import Pods, Reader, chat, pods, watch


@pytest.fixture
async def relay(nats_server: NatsServer) -> AsyncIterator[NatsRelay]:
    """A relay before that server, for one test."""
    async with NatsRelay(nats_server) as one:
        yield one


@pytest.fixture
async def nats_pods(postgresql_url: str, relay: NatsRelay) -> AsyncIterator[Pods]:
    """Pods that reach NATS through the relay."""
    async with aclosing(Pods(postgresql_url, relay.url)) as some:
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
        made = Pods(request.getfixturevalue("postgresql_url"), server.url)
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
