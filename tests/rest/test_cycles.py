"""Connections that are over: freed at once, without the garbage collector, for which all wait."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from operator_svc.rest.server.connections import HttpConnection
from operator_svc.rest.server.upgraded import UpgradedConnection
from tests.fakes.eventually import eventually
from tests.rest.raw_client import HEAD, Unread, get, post, raw
from tests.rest.rest_service import TOKEN, Service

UPGRADE = (
    "GET /ws/s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    f"X-VX11-Token: {TOKEN}\r\n\r\n"
).encode()
MASK = bytes(4)
SENT = {
    "answered": post(b'{"message": "hi"}'),
    "many at once": get("/health/live") * 30,
    "no such path": get("/nope"),
    "no such method": b"PUT /operator/chat HTTP/1.1\r\nHost: x\r\n\r\n",
    "no token": get("/operator/sessions"),
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "no http": b"\x00\xff nonsense\r\n\r\n",
    "half a body": HEAD + b"Content-Length: 100\r\n\r\n{",
    "a broken body": HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "a websocket": UPGRADE + b"\x81\x8f" + MASK + b'{"type":"ping"}',
    "a websocket with a reserved bit": UPGRADE + b"\xf1\x80" + MASK,
    "a websocket that is not UTF-8": UPGRADE + b"\x81\x81" + MASK + b"\xff",
    "an unmasked websocket": UPGRADE + b"\x81\x00",
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Have no garbage collected: what is in a cycle stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def connections() -> int:
    """The connections that are in memory, open or not."""
    kinds = (HttpConnection, UpgradedConnection)
    return sum(isinstance(thing, kinds) for thing in gc.get_objects())


async def until_freed(before: int) -> None:
    """Wait until no more connections than before are in memory; looking takes a while."""
    await eventually(lambda: connections() <= before, every=0.2)


async def test_connections_of_clients_that_left_are_freed(
    service: Service, no_collector: None
) -> None:
    before = connections()
    for what in SENT.values():
        async with raw(service) as client:
            client.send(what)
            await asyncio.sleep(0.05)  # what was sent is being read
    await until_freed(before)


async def test_open_websocket_keeps_nothing_of_its_handshake(
    service: Service, no_collector: None
) -> None:
    def kept() -> int:
        kinds = (HttpConnection, web.BaseRequest, web.StreamResponse)
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    before = kept()
    async with AsyncExitStack() as opened:
        for _ in range(5):
            client = await opened.enter_async_context(raw(service))
            client.send(UPGRADE)
            assert b"101" in await client.reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: kept() <= before, every=0.2)
        assert len(service.operator.services.clients) == 5


async def test_connection_whose_answers_are_not_read_is_freed(
    service: Service, no_collector: None
) -> None:
    before = connections()
    client = Unread(service)
    client.send(get("/openapi.json") * 30)
    await asyncio.sleep(0.3)  # all that fits into the socket is written
    client.close()
    await until_freed(before)
