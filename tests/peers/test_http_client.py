"""HTTP/1.1 as servers really speak it: lengths, ends, responses that nobody asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from yarl import URL

from operator_svc.peers.http_client import HttpClient
from operator_svc.peers.http_connection import NotSentError
from operator_svc.peers.http_response import (
    HIGH_WATER,
    MAX_HEAD_BYTES,
    InvalidResponseError,
    Response,
)
from tests.fakes.eventually import eventually
from tests.fakes.raw import Behaviour, Connection, RawServer, raw_server

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"


@asynccontextmanager
async def client_of(
    behaviour: Behaviour, keep_alive: float = 4.0
) -> AsyncIterator[tuple[HttpClient, RawServer]]:
    """A client, and the server that it calls."""
    async with raw_server(behaviour) as server:
        client = HttpClient(URL(server.url), {"Accept": "*/*"}, 5.0, keep_alive)
        try:
            yield client, server
        finally:
            await client.aclose()


async def call(client: HttpClient) -> Response:
    """A response whose head has come."""
    return await client.send("POST", "/", {}, b"{}")


async def body_of(response: Response) -> bytes:
    """All of a body."""
    pieces = []
    while piece := await response.read():
        pieces.append(piece)
    return b"".join(pieces)


def answering(*answers: bytes) -> Behaviour:
    """Each call on a connection gets the next of the answers; then the connection is closed."""

    async def behaviour(client: Connection) -> None:
        for answer in answers:
            await client.request()
            await client.send(answer)
        await client.until_gone()

    return behaviour


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b"fine"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\nContent-Length: 4\n\nfine", b"fine"),
        (CHUNKED + b"2\r\nfi\r\n2;a=b\r\nne\r\n0\r\n\r\n",
         b"fine"),
        (CHUNKED + b"4 \r\nfine\r\n0\r\nX-Sum: 1\r\n\r\n",
         b"fine"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"fine"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK,
         b"fine"),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nfine", b"fine"),
    ],
)  # fmt: skip
async def test_a_response_leaves_its_connection_for_the_next_call(
    answer: bytes, body: bytes
) -> None:
    async with client_of(answering(answer, answer, OK)) as (client, server):
        for expected in (body, body, b"fine"):
            response = await call(client)
            assert await body_of(response) == expected
            assert response.at_end
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfine",
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
        OK + b"HTTP/1.1 200 OK\r\nContent-Le",
        OK + b"\x16\x03 garbage",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
    ],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes) -> None:
    async with client_of(answering(answer)) as (client, server):
        for number in (1, 2):
            response = await call(client)
            assert response.status == (101 if b" 101 " in answer else 200)
            assert await body_of(response) == (b"" if b" 101 " in answer else b"fine")
            assert not client.idle
            assert server.connections == number


async def test_what_comes_while_nothing_is_asked_closes_the_connection() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(OK)
        await asyncio.sleep(0.05)  # the call is over
        await client.send(OK.replace(b"fine", b"evil"))
        await client.until_gone()

    async with client_of(behaviour) as (client, server):
        for number in (1, 2):
            assert await body_of(await call(client)) == b"fine"
            assert len(client.idle) == 1
            await eventually(lambda: not client.idle)
            assert server.connections == number


async def test_an_answer_before_the_call_is_no_answer_to_it() -> None:
    async def behaviour(client: Connection) -> None:
        await client.send(OK)
        await client.until_gone()

    async with client_of(behaviour) as (client, server):
        try:
            response = await call(client)
        except NotSentError:
            assert server.requests == []
        else:  # it came after the call was written: nobody can tell
            assert await body_of(response) == b"fine"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", aiohttp.ServerDisconnectedError),
        (b"HTTP/1.1 200 OK\r\nContent-", aiohttp.ServerDisconnectedError),
        (b"HTTP/1.1 100 Continue\r\n\r\n", aiohttp.ServerDisconnectedError),
        (b"SSH-2.0-OpenSSH\r\n", InvalidResponseError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfine",
         InvalidResponseError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nfine",
         InvalidResponseError),
    ],
)  # fmt: skip
async def test_a_head_that_is_none_is_an_error(answer: bytes, error: type[Exception]) -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(answer)
        client.close()

    async with client_of(behaviour) as (client, server):
        with pytest.raises(error):
            await call(client)
        assert not client.idle
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine",
        CHUNKED + b"4\r\nfine\r\n",
        CHUNKED + b"4\r\nfine\r\nzz\r\n",
    ],
)
async def test_what_came_before_a_cut_is_read_first(answer: bytes) -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(answer)
        client.close()

    async with client_of(behaviour) as (client, _):
        response = await call(client)
        assert await response.read() == b"fine"
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        with pytest.raises(aiohttp.ClientPayloadError):  # and ever after
            await response.read()
        assert not response.ended


async def test_a_body_without_length_ends_with_its_connection() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(b"HTTP/1.1 200 OK\r\n\r\nfi")
        await client.send(b"ne")
        client.close()

    async with client_of(behaviour) as (client, _):
        response = await call(client)
        assert await body_of(response) == b"fine"
        assert response.ended


@pytest.mark.parametrize("how", ["one header", "many headers", "informational", "no end"])
async def test_a_head_is_bounded(how: str) -> None:
    line = b"X-Some: " + b"x" * 1000 + b"\r\n"

    async def behaviour(client: Connection) -> None:
        await client.request()
        if how == "one header":
            await client.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n")
        elif how == "many headers":
            await client.send(b"HTTP/1.1 200 OK\r\n" + line * 100 + b"\r\n")
        while how == "informational":
            await client.send(b"HTTP/1.1 103 Early Hints\r\n" + line + b"\r\n")
        while how == "no end":
            await client.send(line if client.gone.is_set() else b"HTTP/1.1 200 OK\r\n" + line)
        await client.until_gone()

    async with client_of(behaviour) as (client, _):
        with pytest.raises(InvalidResponseError):
            await call(client)
        assert not client.idle


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


async def test_headers_are_found_in_any_case_and_the_first_counts() -> None:
    lines = (
        b"HTTP/1.1 200 OK", b"cOntent-TYPE: Text/Plain; a=b", b"X-A: 1", b"x-a: 2",
        b"X-B: \xc3\xa9 \xe9", b"Content-Length: 0", b"", b"",
    )  # fmt: skip
    async with client_of(answering(b"\r\n".join(lines))) as (client, _):
        response = await call(client)
        assert response.content_type == "text/plain"
        assert response.headers["x-a"] == "1"
