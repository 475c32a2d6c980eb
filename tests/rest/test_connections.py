"""Connections: slow heads and bodies, too many of them, and what is no HTTP."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import time
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest
import uvloop
from structlog.testing import capture_logs

from tests.fakes.eventually import eventually
from tests.rest.conftest import Start
from tests.rest.raw_client import HEAD, SOON, RawConnection, get, post, raw
from tests.rest.rest_service import TOKEN, Service, running


async def test_a_slow_head_is_cut_off(start: Start) -> None:
    service = await start(header_timeout=0.4)
    async with raw(service) as silent, raw(service) as slow, raw(service) as kept:
        kept.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await kept.answer())[0] == 200
        slow.send(b"GET /health HTTP/1.1\r\n")

        async def drip() -> None:
            while True:
                slow.send(b"X: y\r\n")
                await asyncio.sleep(0.05)  # the pace of the lines

        dripping = asyncio.ensure_future(drip())
        assert await silent.closed() < SOON
        assert await slow.closed() < SOON
        dripping.cancel()
        # One that has been answered may be idle for longer.
        assert await kept.open()
        kept.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await kept.answer())[0] == 200
        # But a second head that comes slowly is cut off as the first.
        kept.send(b"GET /health HTTP/1.1\r\n")
        assert await kept.closed() < SOON


async def test_a_slow_body_is_refused(start: Start) -> None:
    service = await start(header_timeout=0.3)
    async with raw(service) as slow:
        slow.send(HEAD + b"Content-Length: 100\r\n\r\n{")
        status, headers, body = await slow.answer()
        assert status == 400
        assert headers["content-type"] == "application/problem+json"
        assert "did not come" in json.loads(body)["detail"]


async def test_a_body_that_breaks_off_harms_nobody(service: Service) -> None:
    with capture_logs() as logs:
        async with raw(service) as gone:
            gone.send(HEAD + b"Content-Length: 100\r\n\r\n{")
            await asyncio.sleep(0.05)  # the request is being read
        await eventually(lambda: logs)
    assert [entry["log_level"] for entry in logs] == ["info"]
    assert logs[0]["status"] == 499
    async with raw(service) as broken:
        broken.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n")
        status, _, body = await broken.answer()
        assert (status, json.loads(body)["status"]) == (400, 400)
    await service.chat("still here")


async def test_expect_continue_of_a_too_large_body_is_413_at_once(service: Service) -> None:
    async with raw(service) as asking:
        asking.send(HEAD + b"Content-Length: 10000000\r\nExpect: 100-continue\r\n\r\n")
        status, _, body = await asking.answer()
        assert (status, json.loads(body)["error"]) == (413, "payload_too_large")
    async with raw(service) as asking:
        body = b'{"message": "hi"}'
        asking.send(HEAD + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body))
        assert (await asking.answer())[0] == 100
        asking.send(body)
        assert (await asking.answer())[0] == 200


async def test_many_silent_connections_do_not_keep_others_out(start: Start) -> None:
    service = await start(connections=100)
    async with raw(service) as busy:
        body = b'{"message": "slowly [[delay=1]]"}'
        busy.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await eventually(lambda: service.switch.total.running == 1)
        silent = []
        for number in range(300):
            parts = urlsplit(service.url)
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(b"POST /operator/chat HTTP/1.1\r\n" if number % 2 else b"")
            silent.append(RawConnection(reader, writer))
        begun = time.monotonic()
        await service.chat("let me in")
        assert time.monotonic() - begun < SOON
        # The one that was being answered kept its place.
        assert (await busy.answer())[0] == 200
        for connection in silent:
            connection.writer.close()


async def test_a_connection_beyond_the_limit_is_429(start: Start) -> None:
    service = await start(connections=10)
    body = b'{"message": "slowly [[delay=2]]"}'
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    held = []
    for _ in range(10):
        parts = urlsplit(service.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        held.append(RawConnection(reader, writer))
        held[-1].send(request)
        await eventually(lambda: service.switch.total.calls == len(held))
    async with raw(service) as refused:
        status, headers, shown = await refused.answer()
        assert (status, json.loads(shown)["error"]) == (429, "rate_limited")
        assert int(headers["retry-after"]) >= 1
        assert await refused.closed() < SOON
    assert [(await connection.answer())[0] for connection in held] == [200] * 10
    for connection in held:
        connection.writer.close()

    async def free() -> bool:
        return (await service.get("/health")).status == 200

    await eventually(free)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /health HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
    ids=["words", "tls", "version", "length", "lengths", "smuggling", "name", "value", "url",
         "header", "headers"],
)  # fmt: skip
async def test_bytes_that_are_no_http_are_400(service: Service, request_bytes: bytes) -> None:
    async with raw(service) as wrong:
        wrong.send(request_bytes)
        status, headers, body = await wrong.answer()
        assert status == 400
        shown = json.loads(body)
        assert shown["error"] == "invalid_parameter"
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-request-id"] == shown["request_id"]
        assert "aiohttp" not in str(headers)
        assert await wrong.closed() < SOON


async def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    async with raw(service) as client:
        client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        for _ in range(20):
            assert (await client.answer())[0] == 200


async def test_an_http_1_0_request_is_answered_and_closed(service: Service) -> None:
    await service.chat("hi", session_id="s")
    async with raw(service) as client:
        client.send(
            b"GET /operator/session/s/export HTTP/1.0\r\nX-VX11-Token: %b\r\n\r\n" % TOKEN.encode()
        )
        head, _, body = (await client.reader.read()).partition(b"\r\n\r\n")
        assert b" 200 " in head
        assert b"chunked" not in head
        assert len(body.splitlines()) == 3


@pytest.mark.parametrize(
    "half",
    [b"GET /health HT", b"G", b"GET /health HTTP/1.1\r\nHost: x", b"GET / HTTP/1.1\r\nHost: x\r\n",
     b"POST /operator/chat HTTP/1.1\r\nContent-Len"],
    ids=["line", "letter", "value", "header", "name"],
)  # fmt: skip
@pytest.mark.parametrize("whole", [get("/health"), post(b'{"message": "hi"}')], ids=["get", "post"])
async def test_half_a_head_behind_a_whole_request_is_cut_off(
    start: Start, whole: bytes, half: bytes
) -> None:
    service = await start(header_timeout=0.4)
    async with raw(service) as slow:
        assert await slow.status(whole + half) == 200
        assert await slow.closed() < SOON


async def test_an_idle_connection_is_kept_beyond_the_header_timeout(start: Start) -> None:
    service = await start(header_timeout=0.4)
    async with raw(service) as kept:
        for request in (get("/health"), post(b'{"message": "hi"}'), get("/health")):
            assert await kept.status(request) == 200
            await asyncio.sleep(0.5)  # longer than the header timeout
        # The rest of a head in time is welcome, behind a whole request as well.
        assert await kept.status(get("/health") + get("/health")[:20]) == 200
        assert await kept.status(get("/health")[20:]) == 200


def test_a_rush_of_new_clients_is_accepted_in_few_turns_of_the_loop(sqlite_url: str) -> None:
    clients = 128

    async def rush() -> int:
        async with running(sqlite_url) as service, AsyncExitStack() as stack:
            address = urlsplit(service.url)
            opened = [
                stack.enter_context(socket.create_connection((address.hostname, address.port)))
                for _ in range(clients)
            ]
            for one in opened:
                one.sendall(get("/health"))
            turns = 0
            while len(select.select(opened, [], [], 0)[0]) < clients:
                await asyncio.sleep(0)
                turns += 1
            return turns

    # One a turn would be 128 turns; each request takes a few more until it is answered.
    assert uvloop.run(rush()) < clients / 2
