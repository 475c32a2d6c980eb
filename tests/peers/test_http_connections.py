"""Connections of the HTTP client: paused, idle, closed, cancelled."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from operator_svc.peers.http_response import HIGH_WATER
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


async def test_an_answer_before_the_whole_call_was_read_ends_its_connection() -> None:
    over = asyncio.Event()

    async def behaviour(client: Connection) -> None:
        await client._reader.readexactly(1)
        await client.send(OK)
        await over.wait()  # it reads nothing more

    async with client_of(behaviour) as (client, server):
        response = await client.send("POST", "/", {}, b"x" * 2**25)
        assert await body_of(response) == b"fine"
        assert not client.idle
        assert server.connections == 1
        over.set()


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
