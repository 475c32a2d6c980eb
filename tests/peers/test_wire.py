"""Switch on a bad wire: cut, reset, dribbled, garbled; and what is never sent twice."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from typing import Any

import pytest
from aiohttp import ClientSession, TraceConfig

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.transport import LINGER
from tests.fakes.chats import Answer, ask, switch_at
from tests.fakes.raw import (
    STREAM_HEAD,
    Connection,
    RawServer,
    address_of,
    dead_address,
    full_backlog,
    raw_server,
)

TOKENS = "".join(
    f'data: {{"type":"token","content":"{word}"}}\r\n\r\n' for word in ["Señor ", "😀", " ok"]
).encode()
DONE = b'data: {"type":"done","provider":"p","decision":"local","latency_ms":12}\n\n'
OK = b'{"status": "ok", "reply": "fine", "provider": "p"}'


async def fails(url: str, code: ErrorCode, **settings: Any) -> tuple[OperatorError, str]:
    """Ask once; the error, which has ``code``, and the text before it."""
    answer = Answer()
    async with switch_at(url, **settings) as switch:
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "hello", answer)
    assert caught.value.code == code
    return caught.value, answer.text


async def test_a_stream_that_comes_byte_by_byte() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        for byte in b"\xef\xbb\xbf: hello\n\n" + TOKENS + DONE:
            await client.chunk(bytes([byte]))
            await asyncio.sleep(0)
        await client.end()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        answer = await ask(switch, "hello")
    assert answer.text == "Señor 😀 ok"
    assert answer.done.provider == "p"


async def test_all_of_http_byte_by_byte() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        body = TOKENS + DONE
        await client.dribble(STREAM_HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        assert (await ask(switch, "hello")).text == "Señor 😀 ok"


async def test_a_stream_without_length_ends_with_its_connection() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        head = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
        await client.send(head + TOKENS + DONE)
        client.close()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        assert (await ask(switch, "hello")).text == "Señor 😀 ok"


async def test_a_half_closed_stream_without_done_was_cut() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + TOKENS)
        client.half_close()
        await client.until_gone()

    async with raw_server(behaviour) as server:
        _, text = await fails(server.url, ErrorCode.SWITCH_ERROR)
        assert text == "Señor 😀 ok"


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


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02 this is no HTTP\r\n\r\n",
        b"HTTP/1.1 two hundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_garbage(garbage: bytes) -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(garbage)
        await client.until_gone()

    async with raw_server(behaviour) as server:
        error, text = await fails(server.url, ErrorCode.SWITCH_ERROR)
        assert text == ""
        assert "HTTP/1.1" not in str(error)
        assert len(server.requests) == 1


async def test_an_answer_that_never_ends_is_bounded_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operator_svc.peers.chat_stream.MAX_ANSWER_BYTES", 100_000)
    sent = 0

    async def behaviour(client: Connection) -> None:
        nonlocal sent
        await client.request()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
        while True:
            await client.send(b" " * 50_000)
            sent += 50_000

    async with raw_server(behaviour) as server:
        await fails(server.url, ErrorCode.REPLY_TOO_LARGE)
    assert sent < 20_000_000


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br"])
async def test_a_compressed_answer_is_refused_and_not_inflated(encoding: bytes) -> None:
    bomb = gzip.compress(b" " * 200_000_000)

    async def behaviour(client: Connection) -> None:
        assert b"Accept-Encoding: identity" in await client.request()
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
        await client.send(head % (encoding, len(bomb)) + bomb)
        await client.until_gone()

    async with raw_server(behaviour) as server:
        begun = time.monotonic()
        await fails(server.url, ErrorCode.SWITCH_ERROR)
        assert time.monotonic() - begun < 0.5


async def test_endless_comments_are_no_silence_but_end_in_time() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        while True:
            await client.chunk(b": ping\n")
            await asyncio.sleep(0.01)  # the pace of the comments

    async with raw_server(behaviour) as server:
        error, _ = await fails(
            server.url,
            ErrorCode.SWITCH_TIMEOUT,
            switch_idle_timeout=0.2,
            switch_total_timeout=0.6,
        )
        assert "total" in error.detail


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
            await asyncio.sleep(0.02)  # the end of the stream arrives
        assert server.connections == 1
        assert len(server.requests) == 5


async def test_the_end_of_a_reply_does_not_wait_for_the_end_of_its_stream() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        await client.chunk(TOKENS + DONE)
        await client.until_gone()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        started = time.monotonic()
        assert (await ask(switch, "hello")).done.provider == "p"
        assert time.monotonic() - started < LINGER
        await asyncio.wait_for(server.left.wait(), LINGER + 5)  # it is closed in the end


CHUNKS = b"""\
data: {"model": "m", "choices": [{"delta": {"content": "Hello"}}]}

data: {"model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}]}

"""


@pytest.mark.parametrize("how", ["silence", "reset", "close", "usage"])
async def test_a_reply_that_told_its_end_needs_no_more(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_svc.peers.chat_stream.END_GRACE", 0.3)

    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        await client.chunk(CHUNKS)
        await asyncio.sleep(0.05)  # the end was told before
        if how == "usage":
            await client.chunk(b'data: {"choices": [], "usage": {"total_tokens": 9}}\n\n')
        if how == "reset":
            client.reset()
        elif how == "close":
            client.close()
        else:
            await client.until_gone()

    async with (
        raw_server(behaviour) as server,
        switch_at(server.url, switch_dialect="openai") as switch,
    ):
        started = time.monotonic()
        answer = await ask(switch, "hello")
        assert time.monotonic() - started < 5
    assert answer.text == "Hello"
    assert answer.done.finish_reason == "stop"
    assert answer.done.tokens_used == (9 if how == "usage" else None)


@pytest.mark.parametrize("how", ["silence", "reset", "close"])
async def test_a_reply_that_told_no_end_is_cut(how: str) -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(STREAM_HEAD)
        await client.chunk(CHUNKS[:-20])
        if how == "reset":
            await asyncio.sleep(0.05)  # what was sent arrives first
            client.reset()
        elif how == "silence":
            await client.until_gone()

    code = ErrorCode.SWITCH_TIMEOUT if how == "silence" else ErrorCode.SWITCH_ERROR
    async with raw_server(behaviour) as server:
        _, text = await fails(server.url, code, switch_dialect="openai", switch_idle_timeout=0.3)
    assert text == "Hello"


async def test_a_connection_that_was_closed_while_idle_is_not_used() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.json(OK)
        client.close()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        for _ in range(3):
            assert (await ask(switch, "hello")).text == "fine"
            await asyncio.sleep(0.02)  # the end of the connection arrives
        assert server.connections == 3
        assert len(server.requests) == 3


async def test_a_call_that_was_written_to_a_dying_connection_is_not_repeated() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.json(OK)
        await client.request()
        client.reset()

    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        assert (await ask(switch, "first")).text == "fine"
        with pytest.raises(OperatorError) as caught:
            await ask(switch, "second")
        assert caught.value.code == ErrorCode.SWITCH_ERROR
        assert sum(b"second" in request for request in server.requests) == 1


async def test_a_call_that_was_written_nowhere_is_made_on_another_connection() -> None:
    async def behaviour(client: Connection) -> None:
        while True:
            await client.request()
            await client.json(OK)

    closed = 0

    async def lose_it(session: ClientSession, *_: object) -> None:
        """The connection is lost after it was chosen and before the call is written."""
        nonlocal closed
        assert session.connector is not None
        for protocol in session.connector._acquired:
            assert protocol.transport is not None
            protocol.transport.close()
            closed += 1

    losing = TraceConfig()
    losing.on_connection_reuseconn.append(lose_it)
    losing.freeze()
    async with raw_server(behaviour) as server, switch_at(server.url) as switch:
        assert (await ask(switch, "first")).text == "fine"
        assert switch.chats._session is not None
        switch.chats._session.trace_configs.append(losing)
        for message in ("second", "third"):
            assert (await ask(switch, message)).text == "fine"
        assert closed == 2
        assert server.connections == 3
        assert len(server.requests) == 3


async def test_a_switch_that_just_starts_is_found_by_the_second_try() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.json(OK)

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
        assert time.monotonic() - started < 4


async def test_the_password_of_an_address_is_sent_and_not_shown() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(b"HTTP/1.1 500 Not OK\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(behaviour) as server:
        url = server.url.replace("http://", "http://user:passw0rd@")
        error, _ = await fails(url, ErrorCode.SWITCH_ERROR)
        assert "passw0rd" not in str(error)
        assert b"Authorization: Basic dXNlcjpwYXNzdzByZA==" in server.requests[0]
