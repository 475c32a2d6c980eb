"""The heads of JSON answers: the same whether they are made at once or as aiohttp makes them."""

from __future__ import annotations

import asyncio
import datetime as dt
from email.utils import parsedate_to_datetime

import pytest
from aiohttp import web

from operator_svc.rest.server.connections import KEEPALIVE
from tests.fakes.eventually import WITHIN, eventually
from tests.rest.conftest import Start
from tests.rest.raw_client import RawConnection, raw
from tests.rest.rest_service import TOKEN, Service

SESSIONS = f"/operator/sessions HTTP/1.1\r\nHost: x\r\nX-VX11-Token: {TOKEN}\r\n"


async def answered(connection: RawConnection, request: str) -> tuple[dict[str, str], bytes]:
    """The headers of a good answer, without those that two answers never share, and its body."""
    connection.send(request.encode() + b"\r\n")
    status, headers, body = await connection.answer()
    assert status == 200
    assert headers.pop("x-request-id") == headers.pop("x-correlation-id")
    sent = parsedate_to_datetime(headers.pop("date"))
    assert abs(dt.datetime.now(dt.UTC) - sent) < dt.timedelta(seconds=60)
    return headers, body


@pytest.mark.parametrize("more", ["Connection: close\r\n", "Origin: http://o.example\r\n"])
async def test_the_head_of_a_plain_answer_is_that_of_any_other(start: Start, more: str) -> None:
    service = await start(allowed_origins="http://o.example", request_rate=1000)
    async with raw(service) as connection:
        plain = await answered(connection, f"GET {SESSIONS}")
        headers, body = await answered(connection, f"GET {SESSIONS}{more}")
    for own in ("connection", "access-control-allow-origin", "access-control-expose-headers",
                "vary"):  # fmt: skip
        headers.pop(own, None)
    for counted in (plain[0], headers):
        assert counted.pop("ratelimit").startswith('"requests";r=99')
    assert (headers, body) == plain
    assert plain[0]["content-type"] == "application/json"
    assert plain[0]["cache-control"] == "no-store"


async def test_the_head_of_a_plain_answer_needs_no_table_of_headers(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw(service) as connection:
        monkeypatch.setattr(web.Response, "prepare", None)
        await answered(connection, f"GET {SESSIONS}")


async def test_a_head_alone_has_the_length_and_no_body(service: Service) -> None:
    async with raw(service) as connection:
        headers, body = await answered(connection, f"GET {SESSIONS}")
        connection.send(f"HEAD {SESSIONS}\r\n".encode())
        connection.send(f"GET {SESSIONS}\r\n".encode())
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert f"content-length: {len(body)}\r\n" in head
        status, again, _ = await connection.answer()
    assert (status, again["content-type"]) == (200, headers["content-type"])


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/operator/session/s/events", "Accept: text/event-stream\r\n"),
        ("/v1/responses/resp_{reply_id}?stream=true", ""),
        ("/ai/chat/s/stream", ""),
    ],
)
async def test_a_head_of_a_stream_has_no_events(service: Service, path: str, more: str) -> None:
    said = await service.chat("one", session_id="s")
    slow = asyncio.create_task(service.chat(f"[[rate=20]] {'word ' * 100}", session_id="s"))
    await eventually(lambda: len(service.switch.recent) == 2)
    async with raw(service) as connection:
        for method in ("HEAD", "GET"):
            request = SESSIONS.replace("/operator/sessions", path.format_map(said))
            connection.send(f"{method} {request}{more}\r\n".encode())
            async with asyncio.timeout(WITHIN):
                head = (await connection.reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 200 OK\r\n")
            assert "Content-Type: text/event-stream\r\n" in head
    slow.cancel()
    await asyncio.wait([slow])


async def test_http_1_0_keeps_the_connection_only_where_it_says_so(service: Service) -> None:
    old = SESSIONS.replace("HTTP/1.1", "HTTP/1.0")
    async with raw(service) as connection:
        headers, _ = await answered(connection, f"GET {old}Connection: keep-alive\r\n")
        assert headers["connection"] == "keep-alive"
        headers, _ = await answered(connection, f"GET {old}")
        assert "connection" not in headers
        assert await connection.closed() < KEEPALIVE


async def test_an_id_of_the_client_is_in_the_head_under_both_names(service: Service) -> None:
    async with raw(service) as connection:
        connection.send(f"GET {SESSIONS}X-Request-ID: mine-1\r\n\r\n".encode())
        _, headers, _ = await connection.answer()
    assert headers["x-request-id"] == headers["x-correlation-id"] == "mine-1"
