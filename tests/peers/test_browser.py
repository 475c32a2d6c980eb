"""The client of the browser service: what each answer, refusal and failure means."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers import browser as peer
from operator_svc.peers.browser import (
    PNG,
    Browser,
    BrowserAwayError,
    BrowserBusyError,
    BrowserDiedError,
    make_browser,
)
from operator_svc.peers.failures import PeerRefusedError
from operator_svc.protocol.navigate import Visit
from operator_svc.protocol.text import loads
from operator_svc.settings import Settings
from tests.fakes.eventually import WITHIN, eventually
from tests.fakes.peer_answers import PeerAnswers
from tests.fakes.raw import Connection, dead_address, full_backlog, raw_server
from tests.fakes.threads import Threads

URL = "http://browser.test"
PAGE = "https://example.org/"
TOKEN = "the-token"
VISIT: dict[str, Any] = {
    "status": "ok",
    "url": PAGE,
    "final_url": PAGE,
    "http_status": 200,
    "title": "A page",
    "text": "What it says.",
    "links": [{"url": PAGE, "text": "here"}],
    "screenshot": base64.b64encode(PNG + b"pixels").decode(),
    "script_result": {"n": 1},
    "console": ["log: hello"],
    "error": None,
    "duration_ms": 12,
}


@asynccontextmanager
async def browser_at(url: str = URL) -> AsyncIterator[Browser]:
    browser = Browser(url, TOKEN)
    try:
        yield browser
    finally:
        await browser.aclose()


async def answered(**answer: Any) -> Visit:
    with PeerAnswers() as fake:
        # An exception comes before anything was sent: such a call is tried once more.
        fake.post(f"{URL}/navigate", repeat=True, **answer)
        async with browser_at() as browser:
            return await browser.navigate(PAGE, {}, 30)


async def test_a_page_that_was_opened_is_a_visit() -> None:
    with PeerAnswers() as fake:
        fake.post(f"{URL}/navigate", payload={**VISIT, "unknown": True})
        async with browser_at() as browser:
            visit = await browser.navigate(PAGE, {"full_page": True}, 30)
        ((call,),) = fake.requests.values()
    assert msgspec.json.decode(call.kwargs["data"]) == {"url": PAGE, "full_page": True}
    assert call.kwargs["allow_redirects"] is False
    assert visit.screenshot == PNG + b"pixels"
    assert msgspec.to_builtins(visit) | {"screenshot": 0} == VISIT | {"screenshot": 0}


async def test_a_large_answer_is_not_read_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = Threads()
    monkeypatch.setattr(peer, "loads", threads.noting(loads))
    picture = base64.b64encode(PNG + bytes(50_000)).decode()
    visit = await answered(payload={**VISIT, "screenshot": picture})
    assert visit.screenshot == PNG + bytes(50_000)
    assert threads.others


async def test_text_is_made_storable() -> None:
    body = msgspec.json.encode(VISIT).replace(b"What it says.", b"a\\u0000b\\ud83dc")
    assert (await answered(body=body)).text == "a\ufffdb\ufffdc"


async def test_parts_that_are_too_much_are_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer, "MAX_SCREENSHOT_BYTES", 10)
    deep: Any = None
    for _ in range(101):
        deep = [deep]
    visit = await answered(payload={**VISIT, "script_result": deep, "error": "words"})
    assert (visit.screenshot, visit.script_result, visit.text) == (None, None, "What it says.")
    assert visit.error == (
        "words; the script's result is nested deeper than 100 levels; the screenshot is too large"
    )
    visit = await answered(payload={**VISIT, "script_result": deep[0], "screenshot": None})
    assert (visit.script_result, visit.error) == (deep[0], None)


@pytest.mark.parametrize(
    "answer",
    [
        {"body": ""},
        {"body": "[]"},
        {"body": "<html>", "content_type": "text/html"},
        {"body": '{"status": "cut'},
        {"body": "[" * 100_000},
        {"body": '{"a":' * 20_000},
        {"payload": {}},
        {"payload": {**VISIT, "status": "splendid"}},
        {"payload": {**VISIT, "duration_ms": "long"}},
        {"payload": {**VISIT, "screenshot": "no base64"}},
        {"payload": {**VISIT, "screenshot": base64.b64encode(b"<svg onload=x>").decode()}},
        {"payload": {**VISIT, "screenshot": 7}},
        {"payload": {**VISIT, "links": [{"url": {"deep": "value"}}, 7]}},
        {"status": 500, "body": "secret words"},
        {"status": 302, "headers": {"Location": "http://elsewhere.test/"}},
    ],
)
async def test_nonsense_is_a_peer_error(answer: dict[str, Any]) -> None:
    with pytest.raises(OperatorError) as caught:
        await answered(**answer)
    error = caught.value
    assert error.code is ErrorCode.PEER_ERROR
    assert not isinstance(error, BrowserAwayError | BrowserDiedError | PeerRefusedError)
    assert "secret" not in str(error)


async def test_an_answer_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "MAX_ANSWER_BYTES", 100)
    with pytest.raises(OperatorError) as caught:
        await answered(payload=VISIT)
    assert caught.value.code is ErrorCode.PEER_ERROR


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422])
async def test_a_refusal_of_the_request(status: int) -> None:
    with pytest.raises(PeerRefusedError) as caught:
        await answered(status=status, payload={"error": "x"})
    assert caught.value.status == status


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", 1.0), ("99999", 1.0)])
async def test_a_full_queue(header: str, seconds: float) -> None:
    with pytest.raises(BrowserBusyError) as caught:
        await answered(status=429, headers={"Retry-After": header})
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 503, "payload": {"error": "browser_unavailable"}},
        {"status": 503, "payload": {"error": "draining", "cause": "draining"}},
        {"status": 503, "payload": {"error": 7, "cause": ["x"]}},
        {"status": 503, "body": "<html>"},
        {"status": 502},
        {"status": 504},
        {"exception": aiohttp.ConnectionTimeoutError()},
    ],
)
async def test_a_service_that_is_away(answer: dict[str, Any]) -> None:
    with pytest.raises(BrowserAwayError) as caught:
        await answered(**answer)
    assert caught.value.code is ErrorCode.BROWSER_UNAVAILABLE


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 503, "payload": {"error": "browser_unavailable", "cause": "died"}},
        {"exception": aiohttp.ServerDisconnectedError("secret")},
        {"exception": aiohttp.ClientPayloadError("secret")},
        {"exception": aiohttp.ClientOSError(104, "secret")},
    ],
)
async def test_a_browser_that_died(answer: dict[str, Any]) -> None:
    with pytest.raises(BrowserDiedError) as caught:
        await answered(**answer)
    assert caught.value.code is ErrorCode.BROWSER_UNAVAILABLE
    assert "secret" not in str(caught.value)


# On real connections.


async def test_a_service_that_nobody_listens_at_is_away() -> None:
    async with browser_at(dead_address()) as browser:
        with pytest.raises(BrowserAwayError):
            await browser.navigate(PAGE, {}, 30)
        assert not await browser.alive()


async def test_a_service_that_accepts_nobody_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "CONNECT_TIMEOUT", 0.2)
    async with full_backlog() as url, browser_at(url) as browser:
        with pytest.raises(BrowserAwayError):
            await browser.navigate(PAGE, {}, 30)


async def test_an_answer_that_is_cut() -> None:
    async def cut(connection: Connection) -> None:
        request = await connection.request()
        assert b"X-VX11-Token: the-token" in request
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        connection.reset()

    async with raw_server(cut) as server, browser_at(server.url) as browser:
        with pytest.raises(BrowserDiedError):
            await browser.navigate(PAGE, {}, 30)
        assert len(server.requests) == 1  # a page is never opened twice by one call


async def test_leaving_closes_the_connection() -> None:
    async def slow(connection: Connection) -> None:
        await connection.request()
        await connection.until_gone()

    async with raw_server(slow) as server, browser_at(server.url) as browser:
        task = asyncio.create_task(browser.navigate(PAGE, {}, 30))
        await eventually(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(WITHIN):
            await server.left.wait()


async def test_a_service_that_hangs_is_away_and_a_busy_one_is_not() -> None:
    healthy = True
    looks = 0

    async def answer(connection: Connection) -> None:
        nonlocal healthy, looks
        request = await connection.request()
        if request.startswith(b"GET /health"):
            looks += 1
            if looks == 3:
                healthy = False
            if healthy:
                await connection.json(b'{"status": "ok"}')
                return
        await connection.until_gone()

    async with raw_server(answer) as server, browser_at(server.url) as browser:
        browser.grace = 0.05
        begun = asyncio.get_running_loop().time()
        peer_health, peer.HEALTH_TIMEOUT = peer.HEALTH_TIMEOUT, 0.1
        try:
            with pytest.raises(BrowserAwayError):
                await browser.navigate(PAGE, {}, 0.1)
        finally:
            peer.HEALTH_TIMEOUT = peer_health
        assert asyncio.get_running_loop().time() - begun >= 0.1 + 3 * 0.05
        assert looks == 3
        async with asyncio.timeout(WITHIN):
            await server.left.wait()


async def test_a_service_without_chromium_is_alive() -> None:
    with PeerAnswers() as fake:
        fake.get(f"{URL}/health", status=503, payload={"status": "unavailable"})
        fake.get(f"{URL}/health", status=500)
        async with browser_at() as browser:
            assert await browser.alive()
            assert not await browser.alive()


async def test_where_it_is() -> None:
    assert make_browser(Settings(browser_url="")) is None
    made = make_browser(Settings(token="t"))
    assert made is not None
    await made.aclose()
