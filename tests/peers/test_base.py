"""The client that all peers share: circuit breaker, limits, repeated reads, errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import msgspec
import pytest
import structlog

from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.peers.base import CallPolicy, Peer, PeerRefusedError
from operator_svc.peers.breaker import COOL_DOWN, FAILURES_TO_OPEN, Breaker, CircuitOpenError
from operator_svc.peers.failures import retry_after
from operator_svc.peers.transport import vx11_headers
from tests.fakes.chats import TOKEN
from tests.fakes.eventually import WITHIN
from tests.fakes.peer_answers import PeerAnswers
from tests.fakes.raw import Connection, dead_address, full_backlog, raw_server

URL = "http://peer.test"


class Thing(msgspec.Struct):
    name: str
    size: float | None = None


@asynccontextmanager
async def peer_at(url: str = URL, **options: Any) -> AsyncIterator[Peer]:
    breaker = options.pop("breaker", None)
    policy = CallPolicy(**options)
    peer = Peer("Thing", url, vx11_headers(TOKEN), policy=policy, breaker=breaker)
    try:
        yield peer
    finally:
        await peer.aclose()


async def failure(peer: Peer, code: ErrorCode) -> OperatorError:
    with pytest.raises(OperatorError) as caught:
        await peer.get("/thing", Thing)
    assert caught.value.code == code
    assert TOKEN not in str(caught.value)
    return caught.value


async def test_a_read_becomes_its_record() -> None:
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing?a=b", payload={"name": "x", "size": 1, "unknown": True})
        async with peer_at() as peer:
            assert await peer.get("/thing", Thing, params={"a": "b"}) == Thing("x", 1.0)


@pytest.mark.parametrize(
    "answer",
    [
        {"body": ""},
        {"body": "null"},
        {"body": "[]"},
        {"body": '"text"'},
        {"body": "<html>", "content_type": "text/html"},
        {"body": '{"name": "cut'},
        {"body": "{}"},
        {"body": '{"name": 7}'},
        {"body": '{"name": "x", "size": "large"}'},
        {"body": '{"name": "\\ud83d"}'},
        {"body": b'{"name": "\xff"}'},
        {"body": "[" * 100_000},
        {"status": 500, "body": "secret words"},
        {"status": 502},
        {"status": 307, "headers": {"Location": "http://elsewhere.test/"}},
        {"exception": aiohttp.ServerDisconnectedError("secret words")},
        {"exception": aiohttp.ClientPayloadError("secret words")},
        {"exception": aiohttp.ClientOSError(104, "secret words")},
    ],
)
async def test_answers_of_no_use_are_a_peer_error(answer: dict[str, Any]) -> None:
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing", repeat=True, **answer)
        async with peer_at() as peer:
            error = await failure(peer, ErrorCode.PEER_ERROR)
    assert "secret" not in str(error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_refusals_have_their_status_and_are_not_repeated(status: int) -> None:
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing", status=status, payload={"detail": "no such thing"}, repeat=True)
        async with peer_at() as peer:
            with structlog.testing.capture_logs() as logged:
                error = await failure(peer, ErrorCode.PEER_ERROR)
        assert isinstance(error, PeerRefusedError)
        assert error.status == status
        assert "no such thing" not in str(error)
        assert "no such thing" in repr(logged)
        assert sum(map(len, fake.requests.values())) == 1


async def test_a_status_of_error_with_200_is_a_refusal() -> None:
    with PeerAnswers() as fake:
        body = {"status": "error", "detail": "not today", "name": "x"}
        fake.get(f"{URL}/thing", payload=body, repeat=True)
        fake.post(f"{URL}/thing", payload=body)
        async with peer_at() as peer:
            error = await failure(peer, ErrorCode.PEER_ERROR)
            assert isinstance(error, PeerRefusedError)
            assert error.status == 200
            with pytest.raises(PeerRefusedError):
                await peer.post("/thing", {}, Thing)
            assert await peer.get("/thing", Thing, any_status=True) == Thing("x")


async def test_a_validation_error_is_logged_without_its_input() -> None:
    detail = [{"loc": ["body", "x"], "msg": "wrong type", "input": "what the user wrote"}]
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing", status=422, payload={"detail": detail})
        async with peer_at() as peer:
            with structlog.testing.capture_logs() as logged:
                await failure(peer, ErrorCode.PEER_ERROR)
    assert "wrong type" in repr(logged)
    assert "what the user wrote" not in repr(logged)


async def test_a_token_that_a_peer_repeats_is_not_logged() -> None:
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing", status=403, payload={"detail": f"bad token {TOKEN}"})
        async with peer_at() as peer:
            with structlog.testing.capture_logs() as logged:
                await failure(peer, ErrorCode.PEER_ERROR)
    assert "bad token" in repr(logged)
    assert TOKEN not in repr(logged)


async def test_a_read_is_tried_twice_and_a_post_once() -> None:
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing", status=503)
        fake.get(f"{URL}/thing", payload={"name": "x"})
        fake.post(f"{URL}/thing", status=503, repeat=True)
        async with peer_at() as peer:
            assert await peer.get("/thing", Thing) == Thing("x")
            with pytest.raises(OperatorError):
                await peer.post("/thing", {"a": 1}, Thing)
        posts = [calls for (method, _), calls in fake.requests.items() if method == "POST"]
        assert sum(map(len, posts)) == 1


async def test_when_to_come_back_is_passed_on() -> None:
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing", status=503, headers={"Retry-After": "7"}, repeat=True)
        fake.get(f"{URL}/other", status=503, headers={"Retry-After": "tomorrow"}, repeat=True)
        async with peer_at() as peer:
            assert (await failure(peer, ErrorCode.PEER_ERROR)).retry_after == 7
            with pytest.raises(OperatorError) as caught:
                await peer.get("/other", Thing)
            assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("17", 17, 17),
        ("0", 0, 0),
        (" 3 ", 3, 3),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
        (timedelta(hours=1), 3590, 3600),
        (timedelta(days=9), None, None),
        ("99999999", None, None),
        ("-1", None, None),
        ("soon", None, None),
        ("", None, None),
        ("19 Jan 4 8:8804849192", None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(
    header: str | timedelta, least: float | None, most: float | None
) -> None:
    if isinstance(header, timedelta):
        header = format_datetime(datetime.now(UTC) + header, usegmt=True)
    seconds = retry_after(header)
    if least is None or most is None:
        assert seconds is None
    else:
        assert seconds is not None
        assert least <= seconds <= most


@pytest.mark.parametrize("status", [400, 404, 408, 429])
async def test_a_peer_that_answers_4xx_works(status: int) -> None:
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing", status=status, headers={"Retry-After": "7"}, repeat=True)
        async with peer_at() as peer:
            for _ in range(FAILURES_TO_OPEN):
                error = await failure(peer, ErrorCode.PEER_ERROR)
            assert error.retry_after == (7 if status in (408, 429) else None)
            assert peer.breaker.state == "closed"


async def test_the_token_is_sent_and_redirects_are_not_followed() -> None:
    async def behaviour(client: Connection) -> None:
        assert f"X-VX11-Token: {TOKEN}".encode() in await client.request()
        head = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
        await client.send(head.encode())
        await client.until_gone()

    async with raw_server(behaviour) as server, peer_at(server.url) as peer:
        await failure(peer, ErrorCode.PEER_ERROR)
        assert all(b" /thing " in request for request in server.requests)


async def test_a_large_answer_is_not_read_to_its_end() -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.json(b'{"name": "' + b"x" * 20_000 + b'"}')
        await client.until_gone()

    async with raw_server(behaviour) as server, peer_at(server.url, answer_bytes=1000) as peer:
        error = await failure(peer, ErrorCode.PEER_ERROR)
        assert "too large" in error.detail


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
async def test_a_peer_that_hangs(sent: bytes) -> None:
    async def behaviour(client: Connection) -> None:
        await client.request()
        await client.send(sent)
        await client.until_gone()

    async with raw_server(behaviour) as server, peer_at(server.url, timeout=0.2) as peer:
        started = time.monotonic()
        await failure(peer, ErrorCode.PEER_TIMEOUT)
        assert time.monotonic() - started < 10
        await asyncio.wait_for(server.left.wait(), WITHIN)
        with pytest.raises(OperatorError):
            await peer.get("/thing", Thing, within=0.1)


async def test_a_peer_that_is_not_there() -> None:
    async with peer_at(dead_address()) as peer:
        assert (await failure(peer, ErrorCode.PEER_UNAVAILABLE)).retry_after
    async with full_backlog() as url, peer_at(url, connect_timeout=0.1) as peer:
        started = time.monotonic()
        await failure(peer, ErrorCode.PEER_TIMEOUT)
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("url", ["", "switch:8002", "ftp://x", "http://", "http://[bad", "//x"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Peer("Thing", url)
    assert "Thing" in caught.value.problems[0]


async def test_a_circuit_opens_and_is_tried() -> None:
    now = 100.0
    breaker = Breaker("thing", clock=lambda: now)
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing", status=404, repeat=True)
        async with peer_at(breaker=breaker) as peer:
            for _ in range(FAILURES_TO_OPEN * 2):
                await failure(peer, ErrorCode.PEER_ERROR)
            assert breaker.state == "closed", "a refusal is an answer"
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing", status=500, repeat=True)
        async with peer_at(breaker=breaker) as peer:
            for _ in range(FAILURES_TO_OPEN):
                await failure(peer, ErrorCode.PEER_ERROR)
            made = sum(map(len, fake.requests.values()))
            error = await failure(peer, ErrorCode.PEER_UNAVAILABLE)
            assert isinstance(error, CircuitOpenError)
            assert error.retry_after == COOL_DOWN
            assert sum(map(len, fake.requests.values())) == made
    now += COOL_DOWN
    with PeerAnswers() as fake:
        fake.get(f"{URL}/thing", payload={"name": "x"})
        async with peer_at(breaker=breaker) as peer:
            assert await peer.get("/thing", Thing) == Thing("x")
            assert breaker.state == "closed"
