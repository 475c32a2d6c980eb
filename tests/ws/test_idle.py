"""The cost of idle websockets."""

from __future__ import annotations

import asyncio

import pytest

from operator_svc.rest.server import tcp
from tests.ws.conftest import Start

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


async def test_the_system_is_asked_only_about_sockets_that_were_sent_something(
    start: Start, asked: list[object]
) -> None:
    service = await start(write_timeout=WRITE_TIMEOUT, heartbeat=60.0)
    service.switch.answer = ["hi"]
    sockets = [await service.ready(f"s-{number}") for number in range(SOCKETS)]

    async def is_quiet() -> bool:
        asked.clear()
        await asyncio.sleep(WRITE_TIMEOUT)  # some looks at all connections
        return not asked

    await service.until(is_quiet)
    await asyncio.sleep(2 * WRITE_TIMEOUT)  # longer than a client may read nothing
    await sockets[0].chat()
    await sockets[0].ended()
    await service.until(lambda: asked)
    assert len(set(asked)) <= 2, "it asks about others than the client and its request"
    await service.until(is_quiet)
    assert [socket.code for socket in sockets] == [None] * SOCKETS
