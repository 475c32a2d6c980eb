"""The cost of idle websockets and event streams."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc.rest.server import tcp
from tests.ws.conftest import Start
from tests.ws.event_streams import subscriptions

SOCKETS = 10
WRITE_TIMEOUT = 0.4
"""Seconds; each connection is looked at four times in them."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The transports about which the system was asked."""
    transports: list[object] = []
    progress = tcp.progress

    def note(transport: asyncio.Transport) -> tuple[bool, int]:
        transports.append(transport)
        return progress(transport)

    monkeypatch.setattr(tcp, "progress", note)
    return transports


async def test_the_system_is_asked_only_about_clients_that_were_sent_something(
    start: Start, asked: list[object]
) -> None:
    service = await start(write_timeout=WRITE_TIMEOUT, heartbeat=60.0)
    service.switch.answer = ["hi"]
    client = await service.ready()
    await client.chat()
    await client.ended()
    idle = [await service.ready(f"s-{number}") for number in range(SOCKETS)]

    async def is_quiet() -> bool:
        asked.clear()
        await asyncio.sleep(WRITE_TIMEOUT)  # some looks at all connections
        return not asked

    async with subscriptions(service) as stream:
        await stream.until(lambda: stream.frames)
        await service.until(is_quiet)
        await asyncio.sleep(2 * WRITE_TIMEOUT)  # longer than a client may read nothing
        await client.chat()
        await client.ended(2)
        await stream.until(lambda: len(stream.view.endings) == 1)
        await service.until(lambda: asked)
        assert len(set(asked)) <= 2, "it asks about others than the client and the stream"
        await service.until(is_quiet)
    assert [socket.code for socket in (client, *idle)] == [None] * (1 + SOCKETS)
