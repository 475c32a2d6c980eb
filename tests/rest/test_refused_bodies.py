"""Bodies of refused requests: read for a short time, so that the client gets its answer."""

from __future__ import annotations

import json
import time

import pytest

from tests.rest.raw_client import SOON, get, raw
from tests.rest.rest_service import Service


@pytest.mark.parametrize(
    ("path", "status"), [("/nope", 404), ("/operator/chat", 401), ("/health", 405)]
)
async def test_a_refused_body_that_never_ends_is_not_drained(
    service: Service, path: str, status: int
) -> None:
    async with raw(service) as client:
        client.send(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        client.send(b"5\r\nhello\r\n")
        shown, headers, _ = await client.answer()
        assert (shown, headers["connection"]) == (status, "close")
        begun = time.monotonic()
        while await client.open():
            client.send(b"5\r\nhello\r\n")
        assert time.monotonic() - begun < SOON


async def test_an_answer_to_a_refused_body_is_read_by_a_client_that_sends_it_whole(
    service: Service,
) -> None:
    async with raw(service) as client:
        body = b"x" * 3_000_000
        client.send(b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        client.send(body)
        await client.writer.drain()
        status, _, shown = await client.answer()
        assert (status, json.loads(shown)["error"]) == (404, "not_found")


async def test_a_refused_body_that_came_whole_keeps_the_connection(service: Service) -> None:
    async with raw(service) as client:
        refused = b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        assert await client.status(refused) == 404
        assert await client.status(get("/health")) == 200
