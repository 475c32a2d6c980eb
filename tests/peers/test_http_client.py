"""HTTP/1.1 as servers really speak it: lengths, ends, responses that nobody asked for."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from operator_svc.peers.http_connection import NotSentError
from operator_svc.peers.http_response import MAX_HEAD_BYTES, InvalidResponseError
from tests.fakes.eventually import eventually
from tests.fakes.raw import Connection
from tests.peers.http_calls import CHUNKED, OK, answering, body_of, call, client_of


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
        (b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 4\r\n\r\nfine", InvalidResponseError),
        (b"HTTP/1.1 000 OK\r\nContent-Length: 4\r\n\r\nfine", InvalidResponseError),
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
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n" + CHUNKED[17:] + b"4\r\nfine\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked \r\n\r\n4\r\nfine\r\n",
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


@pytest.mark.parametrize("coding", ["", "identity", "chunked, gzip", "xchunked", "chunked;q=1"])
async def test_a_body_without_length_ends_with_its_connection(coding: str) -> None:
    header = f"Transfer-Encoding: {coding}\r\n" if coding else ""

    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(f"HTTP/1.1 200 OK\r\n{header}\r\nfi".encode())
        await client.send(b"ne")
        client.close()

    async with client_of(behaviour) as (client, _):
        response = await call(client)
        assert await body_of(response) == b"fine"
        assert response.ended


@pytest.mark.parametrize("kind", ["trailer", "trailers", "extension"])
async def test_what_stands_beside_a_body_is_bounded(kind: str) -> None:
    begin, more = {
        "trailer": (b"0\r\nX: ", b"x" * 1000),
        "trailers": (b"0\r\n", b"X-Some: " + b"x" * 1000 + b"\r\n"),
        "extension": (b"4;", b"x" * 1000),
    }[kind]

    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(CHUNKED + b"4\r\nfine\r\n" + begin)
        while True:
            await client.send(more)

    async with client_of(behaviour) as (client, server):
        response = await call(client)
        assert await response.read() == b"fine"
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        assert server.connections == 1


async def test_a_head_within_its_bound_is_read_in_any_pieces() -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"x" * 990) for n in range(MAX_HEAD_BYTES // 1000))
    head = (
        b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 4\r\n" + lines
    )

    async def behaviour(client: Connection) -> None:
        await client.request()
        for start in range(0, len(head), 9000):
            await client.send(head[start : start + 9000])
            await asyncio.sleep(0.005)  # each is a read of its own
        await client.send(b"\r\nfine")
        await client.until_gone()

    async with client_of(behaviour) as (client, _):
        response = await call(client)
        assert response.headers["x-0"] == "x" * 990
        assert await body_of(response) == b"fine"


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


async def test_headers_are_found_in_any_case_and_the_first_counts() -> None:
    lines = (
        b"HTTP/1.1 200 OK", b"cOntent-TYPE: Text/Plain; a=b", b"X-A: 1", b"x-a: 2",
        b"X-B: \xc3\xa9 \xe9", b"Content-Length: 0", b"", b"",
    )  # fmt: skip
    async with client_of(answering(b"\r\n".join(lines))) as (client, _):
        response = await call(client)
        assert response.content_type == "text/plain"
        assert response.headers["x-a"] == "1"
