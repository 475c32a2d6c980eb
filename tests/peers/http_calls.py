"""A client of HTTP/1.1 and the raw server that it calls."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL

from operator_svc.peers.http_client import HttpClient
from operator_svc.peers.http_response import Response
from tests.fakes.raw import Behaviour, Connection, RawServer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"


@asynccontextmanager
async def client_of(
    behaviour: Behaviour, keep_alive: float = 4.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[HttpClient, RawServer]]:
    """A client, and the server that it calls, by ``tls`` where that is."""
    async with RawServer(behaviour).running(tls=tls) as server:
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
