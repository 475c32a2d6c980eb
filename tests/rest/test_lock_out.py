"""Clients that hold connections: none keeps others out for long, and probes never wait."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from operator_svc.rest.server.admission import RESERVE
from tests.fakes.eventually import WITHIN, eventually
from tests.rest.conftest import Start
from tests.rest.raw_client import RawConnection, Unread, get, post, raw
from tests.rest.rest_service import TOKEN, Service

PLACES = 40
DOCUMENT = get("/openapi.json")
CHAT = post(b'{"message": "hello"}')
SOON = 10.0
"""Seconds; a head or a body that does not come is cut off after 15 s, an unread answer after 30."""
PATIENT = {"switch_first_byte_timeout": WITHIN}
STREAM = (
    b"GET /operator/session/s/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
    b"X-VX11-Token: " + TOKEN.encode() + b"\r\n\r\n"
)
"""Is served until its client leaves."""


@pytest.fixture
async def unread() -> AsyncIterator[Any]:
    """Opens sockets that pipeline a large document until they are blocked, and read nothing."""
    opened: list[Unread] = []

    async def block(service: Service, count: int) -> list[Unread]:
        for _ in range(count):
            opened.append(Unread(service))
            opened[-1].send(DOCUMENT * 30)
        await asyncio.sleep(0.3)  # until the buffers are full
        return opened

    yield block
    for client in opened:
        client.close()


async def probe(service: Service, path: str = "/health/live") -> tuple[int, float]:
    """The status of a probe over a connection of its own, and the seconds that it took."""
    begun = time.monotonic()
    async with raw(service) as client:
        status = await client.status(get(path))
    return status, time.monotonic() - begun


async def let_in(service: Service) -> bool:
    """True where a client with a connection of its own is answered."""
    async with raw(service) as client:
        return await client.status(post(b'{"message": "let me in"}')) == 200


async def test_clients_that_read_nothing_give_way(start: Start, unread: Any) -> None:
    service = await start(connections=PLACES)
    await unread(service, PLACES)
    assert (await probe(service))[0] == 200
    await eventually(lambda: let_in(service), SOON)
    assert (await probe(service))[0] == 200


async def test_a_client_that_reads_nothing_is_cut(start: Start, unread: Any) -> None:
    service = await start(write_timeout=0.6)
    clients = await unread(service, 3)
    for client in clients:
        await eventually(client.is_cut, SOON)


async def test_a_client_that_reads_slowly_is_not_cut(start: Start, unread: Any) -> None:
    service = await start(write_timeout=2.0)
    (client,) = await unread(service, 1)
    for _ in range(30):
        assert await client.read(65536)
        await asyncio.sleep(0.1)  # the pace of the reader
    assert not await client.is_cut()


async def test_a_client_with_a_small_unread_answer_is_cut(start: Start) -> None:
    service = await start(write_timeout=0.6)
    client = Unread(service)
    # As much as the kernel takes, and a little that is left: writing is never paused for it.
    client.send(get("/docs") * 8)
    await asyncio.sleep(0.2)  # the kernel takes them
    client.send(get("/docs") * 40)
    await eventually(client.is_cut, SOON)
    client.close()


async def test_bodies_that_never_end_do_not_keep_others_out(start: Start) -> None:
    service = await start(connections=PLACES, address_share=1.0)
    async with AsyncExitStack() as stack:
        for number in range(PLACES):
            client = await stack.enter_async_context(raw(service))
            path = b"/nope" if number % 2 else b"/operator/chat"
            token = b"" if number % 2 else b"X-VX11-Token: " + TOKEN.encode() + b"\r\n"
            client.send(
                b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + token
                + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
            )  # fmt: skip
        await asyncio.sleep(0.1)  # all of them are accepted
        assert (await probe(service))[0] == 200
        await eventually(lambda: let_in(service), SOON)


def hold(service: Service) -> asyncio.Event:
    """Let Switch answer no chat before the event."""
    service.switch.may_answer.clear()
    return service.switch.may_answer


async def served(stack: AsyncExitStack, service: Service, count: int) -> list[RawConnection]:
    """Connections that are being served, one after the other."""
    return [await served_one(stack, service) for _ in range(count)]


async def served_one(stack: AsyncExitStack, service: Service, host: str = "") -> RawConnection:
    """A connection, from the address ``host``, whose chat Switch has."""
    client = await stack.enter_async_context(raw(service, host or None))
    calls = service.switch.total.calls
    client.send(CHAT)
    await eventually(lambda: service.switch.total.calls > calls)
    return client


@pytest.mark.measures_time
async def test_probes_are_answered_while_all_places_are_served(start: Start) -> None:
    service = await start(connections=10, address_share=1.0, **PATIENT)
    told = hold(service)
    async with AsyncExitStack() as stack:
        clients = await served(stack, service, 10)
        for path in ("/health", "/health/live", "/health/ready", "/metrics"):
            status, took = await probe(service, path)
            assert status == 200
            assert took < 0.5
        async with raw(service) as refused:
            refused.send(get("/openapi.json"))
            status, headers, body = await refused.answer()
            assert (status, json.loads(body)["error"]) == (429, "rate_limited")
            assert headers["retry-after"] == "5"
            assert await refused.closed() < SOON
        # Many that say nothing do not take the reserve away from probes.
        silent = [await stack.enter_async_context(raw(service)) for _ in range(200)]
        for _ in range(5):
            status, took = await probe(service)
            assert (status, took < 0.5) == (200, True)
        assert await silent[-1].closed() < SOON
        told.set()
        assert [(await client.answer())[0] for client in clients] == [200] * 10


async def test_an_address_beyond_its_share_gives_way_to_another(start: Start) -> None:
    service = await start(connections=10, address_share=0.5, **PATIENT)
    told = hold(service)
    async with AsyncExitStack() as stack:
        clients = await served(stack, service, 10)
        async with raw(service) as same:
            assert await same.status(DOCUMENT) == 429
        others = [await served_one(stack, service, "127.0.0.2") for _ in range(5)]
        async with raw(service, "127.0.0.2") as other:
            assert await other.status(DOCUMENT) == 429
        told.set()
        # The newest five of the first address lost their places, nobody else did.
        assert [(await client.answer())[0] for client in clients[:5]] == [200] * 5
        for client in clients[5:]:
            assert await client.closed() < SOON
        assert [(await other.answer())[0] for other in others] == [200] * 5


async def test_an_address_keeps_its_places_where_the_share_is_off(start: Start) -> None:
    service = await start(connections=10, address_share=1.0, **PATIENT)
    told = hold(service)
    async with AsyncExitStack() as stack:
        clients = await served(stack, service, 10)
        async with raw(service, "127.0.0.2") as other:
            assert await other.status(DOCUMENT) == 429
        told.set()
        assert [(await client.answer())[0] for client in clients] == [200] * 10


async def test_an_address_without_connections_has_room_beside_few_that_hold_all(
    start: Start,
) -> None:
    service = await start(connections=30)
    await service.chat("hello", session_id="s")
    await service.session.close()
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(10):
            for address in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
                clients.append(await stack.enter_async_context(raw(service, address)))
                assert await clients[-1].status(STREAM) == 200
        # None of the three has half of the places, each has more than a fourth.
        assert await let_in(service)
        async with raw(service, "127.0.0.2") as more:
            assert await more.status(DOCUMENT) == 429
        endings = [asyncio.ensure_future(client.closed()) for client in clients]
        ended, kept = await asyncio.wait(endings, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        for ending in kept:
            ending.cancel()
        assert len(ended) == 1
        assert ended < set(endings[-3:])  # the newest of one of them


@pytest.mark.parametrize("crowd", ["127.0.0.2", "127.0.0.1"])
async def test_a_probe_is_answered_before_a_rush_that_fills_the_reserve(
    start: Start, crowd: str
) -> None:
    service = await start(connections=10, address_share=1.0)
    await service.chat("hello", session_id="s")
    async with AsyncExitStack() as stack:
        for _ in range(10):
            client = await stack.enter_async_context(raw(service))
            assert await client.status(STREAM) == 200
        address = urlsplit(service.url)
        # All of them wait in the backlog, since the event loop does nothing meanwhile.
        probing = stack.enter_context(socket.create_connection((address.hostname, address.port)))
        probing.sendall(get("/health/live"))
        for _ in range(2 * RESERVE):
            silent = socket.create_connection(
                (address.hostname, address.port), source_address=(crowd, 0)
            )
            stack.enter_context(silent)
        probing.setblocking(False)
        answer = await asyncio.get_running_loop().sock_recv(probing, 65536)
        assert answer.startswith(b"HTTP/1.1 200 ")
