"""Clients that close their half of a connection, and those that leave."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from operator_svc.rest.event_stream import INTERIM
from tests.fakes.eventually import WITHIN, eventually
from tests.rest.conftest import Start
from tests.rest.raw_client import HEAD, SOON, get, post, raw
from tests.rest.rest_service import TOKEN, Service


async def test_a_client_that_half_closes_gets_its_answers(service: Service) -> None:
    slowly = post(b'{"message": "slowly [[delay=0.6]]"}')
    async with raw(service) as client:
        client.send(get("/health") + slowly + get("/health") + slowly)
        client.writer.write_eof()
        assert [(await client.answer())[0] for _ in range(4)] == [200] * 4
        assert await client.closed() < SOON


FOREGROUND: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "[[delay=1]] hello"}]},
    "/v1/responses": {"input": "[[delay=1]] hello"},
}
"""Calls that are cancelled by leaving."""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", FOREGROUND)
async def test_a_call_that_leaving_cancels_is_answered_where_only_a_half_is_closed(
    start: Start, path: str, stream: bool
) -> None:
    service = await start(heartbeat=1.0)
    body = json.dumps({"model": "operator", "stream": stream, **FOREGROUND[path]}).encode()
    head = HEAD.replace(b"/operator/chat", path.encode())
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    async with raw(service) as client:
        client.send(request)
        client.writer.write_eof()
        async with asyncio.timeout(WITHIN):
            answer = await client.reader.read()
    # Where it is looked for in time whether the client is there, an interim response comes first.
    assert answer.removeprefix(INTERIM).startswith(b"HTTP/1.1 200 OK")
    assert b"hello" in answer
    async with raw(service) as client:
        client.send(request)
        await eventually(lambda: service.switch.total.calls == 2)
    with capture_logs() as logs:
        await eventually(lambda: len(service.operator.services.clients) == 0)
    assert [line for line in logs if line["log_level"] == "error"] == []


async def test_an_http_1_0_client_that_half_closes_before_its_reply_has_left(
    start: Start,
) -> None:
    service = await start(heartbeat=1.0)
    body = json.dumps({"model": "operator", **FOREGROUND["/v1/responses"]}).encode()
    head = HEAD.replace(b"/operator/chat", b"/v1/responses").replace(b"HTTP/1.1", b"HTTP/1.0")
    async with raw(service) as client:
        client.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        client.writer.write_eof()
        async with asyncio.timeout(WITHIN):
            assert await client.reader.read() == b""


async def test_a_client_that_half_closes_within_a_request_is_closed(service: Service) -> None:
    async with raw(service) as client:
        client.send(HEAD + b"Content-Length: 100\r\n\r\n{")
        client.writer.write_eof()
        assert await client.closed() < SOON
    async with raw(service) as client:
        client.send(get("/health")[:10])
        client.writer.write_eof()
        assert await client.closed() < SOON


async def test_a_stream_goes_on_for_a_half_closed_client_and_ends_for_one_that_left(
    service: Service,
) -> None:
    body = b'{"message": "slowly [[delay=0.6]] [[tokens=20]]", "stream": true}'
    async with raw(service) as client:
        client.send(post(body))
        client.writer.write_eof()
        async with asyncio.timeout(WITHIN):
            answer = await client.reader.read()
        assert b"reply.completed" in answer
        assert answer.endswith(b"0\r\n\r\n")
    await service.chat("hi", session_id="s")
    async with raw(service) as client:
        client.send(
            b"GET /operator/session/s/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
            b"X-VX11-Token: " + TOKEN.encode() + b"\r\n\r\n"
        )
        await client.reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: len(service.operator.services.clients) == 1)
    await eventually(lambda: len(service.operator.services.clients) == 0)
