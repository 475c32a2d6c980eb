"""Connections of the HTTP client: paused, idle, closed, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
import uvloop

from operator_svc.peers.http_response import HIGH_WATER
from tests.fakes.certificates import server_context, trusted_by_aiohttp
from tests.fakes.eventually import eventually
from tests.fakes.raw import Connection
from tests.peers.http_calls import CHUNKED, OK, answering, body_of, call, client_of


async def test_a_body_that_nobody_reads_is_bounded_and_comes_whole_later() -> None:
    size = 200 * HIGH_WATER
    sent = asyncio.Event()

    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        await client.send(b"x" * size)
        sent.set()
        await client.until_gone()

    async with client_of(behaviour) as (client, _):
        response = await call(client)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # time itself: nothing more may come in it
                await sent.wait()
        assert not response.ended
        assert len(await body_of(response)) == size


async def test_a_response_that_is_paused_brings_nothing() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(CHUNKED)
        await client.chunk(b"one")
        await client.request()
        await client.chunk(b"two")
        await client.end()
        await client.until_gone()

    async with client_of(behaviour) as (client, server):
        response = await call(client)
        assert await response.read() == b"one"
        response.pause()
        response.pause()
        (connection,) = client._connections
        connection._transport.write(b"POST / HTTP/1.1\r\n\r\n")
        await eventually(lambda: len(server.requests) == 2)
        reading = asyncio.create_task(response.read())
        await asyncio.sleep(0.1)  # time itself: what was sent would have come
        assert not reading.done()
        response.resume()
        assert await reading == b"two"
        assert await response.read() == b""
        response.pause()  # the connection may be another call's
        response.close()
        assert len(client.idle) == 1


async def test_a_connection_is_closed_when_it_was_idle_for_long_enough() -> None:
    async with client_of(answering(OK, OK), keep_alive=0.2) as (client, server):
        both = await asyncio.gather(call(client), call(client))
        for response in both:
            assert await body_of(response) == b"fine"
        assert len(client.idle) == server.connections == 2
        await eventually(lambda: not client.idle)
        assert await body_of(await call(client)) == b"fine"
        assert server.connections == 3


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_answer_before_the_whole_call_was_read_ends_its_connection(
    loop: Callable[[], asyncio.AbstractEventLoop],
    tls: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server_side = trusted_by_aiohttp(tmp_path, monkeypatch) if tls else None

    async def run() -> None:
        over = asyncio.Event()

        async def behaviour(client: Connection) -> None:
            await client._reader.readexactly(1)
            await client.send(OK)
            await over.wait()  # it reads nothing more

        async with client_of(behaviour, tls=server_side) as (client, server):
            response = await client.send("POST", "/", {}, b"x" * 2**25)
            assert await body_of(response) == b"fine"
            assert not client.idle
            assert server.connections == 1
            over.set()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_calls_by_tls_arrive_whole_on_one_connection(
    loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_side = trusted_by_aiohttp(tmp_path, monkeypatch)
    bodies = [bytes([n]) * size for n, size in enumerate((0, 1, 2**16, 2**16 + 1, 2**22))]

    async def run() -> None:
        answers = answering(*[OK] * len(bodies))
        async with client_of(answers, tls=server_side) as (client, server):
            for body in bodies:
                response = await client.send("POST", "/", {}, body)
                assert await body_of(response) == b"fine"
            assert [request.partition(b"\r\n\r\n")[2] for request in server.requests] == bodies
            assert server.connections == 1

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


async def test_a_server_whose_certificate_is_not_trusted_gets_no_call(tmp_path: Path) -> None:
    async with client_of(answering(OK), tls=server_context(tmp_path)) as (client, server):
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await call(client)
        assert server.requests == []


async def test_a_call_that_is_cancelled_closes_its_connection() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.until_gone()

    async with client_of(behaviour) as (client, server):
        calling = asyncio.create_task(call(client))
        await eventually(lambda: bool(server.requests))
        calling.cancel()
        await server.left.wait()
        assert not client.idle


async def test_a_client_that_is_closed_cuts_what_is_read() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(b"HTTP/1.1 200 OK\r\n\r\nwithout an end")
        await client.until_gone()

    async with client_of(behaviour) as (client, _):
        response = await call(client)
        assert await response.read() == b"without an end"
        await client.aclose()
        with pytest.raises(aiohttp.ClientError):
            await response.read()
