"""Connections to Switch: made, used again, dying, and never made."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from aiohttp import TCPConnector
from aiohttp.connector import Connection as PooledConnection

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.switch import Switch
from tests.fakes.chats import ask, switch_at
from tests.fakes.eventually import eventually
from tests.fakes.raw import (
    STREAM_HEAD,
    Connection,
    RawServer,
    address_of,
    dead_address,
    full_backlog,
    raw_server,
)
from tests.peers.wire import DONE, OK, TOKENS, fails


def connected(switch: Switch) -> int:
    """The number of connections that nobody uses and that are open."""
    return len(switch.chats.http.idle)


async def answer(client: Connection) -> None:
    """Read a call and answer it."""
    await client.request()
    await client.json(OK)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("sent", [b"", STREAM_HEAD[:20], STREAM_HEAD, STREAM_HEAD + b"5\r\nda"])
async def test_a_connection_that_ends_before_its_answer_is_not_asked_again(
    how: str, sent: bytes
) -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(sent)
        await asyncio.sleep(0.05)  # what was sent arrives first
        client.close() if how == "close" else client.reset()

    async with raw_server(behaviour) as server:
        await fails(server.url, ErrorCode.SWITCH_ERROR)
        assert len(server.requests) == 1
        assert server.connections == 1


async def test_connections_are_used_again_and_all_calls_arrive_once() -> None:
    async def behaviour(client: Connection) -> None:
        while True:
            await client.request()
            await client.send(STREAM_HEAD)
            await client.chunk(TOKENS)
            await client.chunk(DONE)
            await client.chunk(b"data: [DONE]\n\n")
            await client.end()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        for _ in range(5):
            await ask(switch, "hello")
            await eventually(lambda: connected(switch) == 1)
        assert server.connections == 1
        assert len(server.requests) == 5


async def test_a_connection_that_was_closed_while_idle_is_not_used() -> None:
    async def behaviour(client: Connection) -> None:
        await answer(client)
        client.close()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        for _ in range(3):
            assert (await ask(switch, "hello")).text == "fine"
            await eventually(lambda: not connected(switch))
        assert server.connections == 3
        assert len(server.requests) == 3


async def test_a_call_that_was_written_to_a_dying_connection_is_not_repeated() -> None:
    async def behaviour(client: Connection) -> None:
        await answer(client)
        await client.request()
        client.reset()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        assert (await ask(switch, "first")).text == "fine"
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "second")
        assert caught.value.code == ErrorCode.SWITCH_ERROR
        assert sum(b"second" in request for request in server.requests) == 1


async def test_a_call_that_was_written_nowhere_is_made_on_another_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def behaviour(client: Connection) -> None:
        while True:
            await answer(client)

    connect = TCPConnector.connect
    lost = 0

    async def lose_it(connector: TCPConnector, *call: Any) -> PooledConnection:
        """A connection that is lost before the call is written; every second one."""
        nonlocal lost
        connection = await connect(connector, *call)
        if server.connections % 2:
            assert connection.transport is not None
            connection.transport.close()
            lost += 1
        return connection

    monkeypatch.setattr(TCPConnector, "connect", lose_it)
    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        for message in ("first", "second", "third"):
            assert (await ask(switch, message)).text == "fine"
            await eventually(lambda: connected(switch) == 1)
            switch.chats.http.idle[0].close()
            await eventually(lambda: not connected(switch))
        assert lost == 3
        assert server.connections == 6
        assert len(server.requests) == 3


async def test_a_switch_that_closes_every_connection_at_once_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = TCPConnector.connect

    async def lose_it(connector: TCPConnector, *call: Any) -> PooledConnection:
        connection = await connect(connector, *call)
        assert connection.transport is not None
        connection.transport.close()
        return connection

    monkeypatch.setattr(TCPConnector, "connect", lose_it)
    async with raw_server(answer) as server:
        error, _ = await fails(server.url, ErrorCode.SWITCH_UNAVAILABLE)
        assert error.retry_after
        assert server.requests == []
        assert server.connections == 2


async def test_a_switch_that_just_starts_is_found_by_the_second_try() -> None:
    async def behaviour(client: Connection) -> None:
        await answer(client)

    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
    url = address_of(sock)
    async with switch_at(url) as switch:
        asking = asyncio.create_task(ask(switch, "hello"))
        await asyncio.sleep(0.01)  # it was refused once
        async with RawServer(behaviour).running(sock) as server:
            assert (await asking).text == "fine"
            assert len(server.requests) == 1


async def test_refused_and_unknown_hosts() -> None:
    error, _ = await fails(dead_address(), ErrorCode.SWITCH_UNAVAILABLE)
    assert error.retry_after
    await fails("http://no-such-host.invalid:1", ErrorCode.SWITCH_UNAVAILABLE)


async def test_connecting_takes_too_long() -> None:
    async with full_backlog() as url:
        started = time.monotonic()
        error, _ = await fails(url, ErrorCode.SWITCH_TIMEOUT, switch_connect_timeout=0.3)
        assert "connect" in error.detail
        assert time.monotonic() - started < 10


async def test_the_password_of_an_address_is_sent_and_not_shown() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(b"HTTP/1.1 500 Not OK\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(behaviour) as server:
        url = server.url.replace("http://", "http://user:passw0rd@")
        error, _ = await fails(url, ErrorCode.SWITCH_ERROR)
        assert "passw0rd" not in str(error)
        assert b"Authorization: Basic dXNlcjpwYXNzdzByZA==" in server.requests[0]
