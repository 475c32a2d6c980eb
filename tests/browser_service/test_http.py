"""The HTTP front: who may call, what is refused and how, and the queue."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from operator_svc.settings import BrowserSettings
from tests.fakes.eventually import WITHIN, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = {"X-VX11-Token": "the-token"}
PAGES, QUEUE = 2, 3


@pytest.fixture(scope="module")
def browser_settings() -> BrowserSettings:
    return BrowserSettings(token="the-token", allow="pages.test:*", pages=PAGES, queue=QUEUE)


async def problem(response: Any, status: int, error: str) -> dict[str, Any]:
    """The body of an answer that must be this problem."""
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    body = await response.json()
    assert isinstance(body, dict)
    assert (body["status"], body["status_code"], body["error"]) == (status, status, error)
    assert body["type"].endswith(f"/errors/{error}")
    assert body["title"]
    assert body["detail"]
    assert body["request_id"]
    return body


async def test_request_without_the_token_is_rejected(client: Any) -> None:
    async with client.post("/navigate", json={"url": "http://pages.test/"}) as response:
        await problem(response, 401, "auth_required")
    for token in ("wrong", "the-token ", "the-toke", "ü", "the-tokenx"):
        headers = {"X-VX11-Token": token}
        async with client.post("/navigate", json={"url": "x"}, headers=headers) as response:
            if token.strip() != "the-token":
                await problem(response, 403, "forbidden")
    async with client.get("/nothing") as response:
        await problem(response, 401, "auth_required")


async def test_health_and_metrics_need_no_token(client: Any, service: Any) -> None:
    async with client.get("/health") as response:
        assert response.status == 200
        body = await response.json()
    assert body == {
        "status": "ok",
        "browser": f"Chromium {service.pool.running[0].version}",
        "version": body["version"],
        "pages_open": 0,
        "queue_length": 0,
    }
    async with client.get("/metrics") as response:
        assert response.status == 200
        text = await response.text()
    assert "operator_browser_chromium_starts_total 1.0" in text
    assert "operator_browser_pages_open 0.0" in text


async def test_unknown_path_and_method_are_problems(client: Any) -> None:
    async with client.get("/nothing", headers=TOKEN) as response:
        await problem(response, 404, "not_found")
    async with client.get("/navigate", headers=TOKEN) as response:
        await problem(response, 405, "method_not_allowed")
        assert response.headers["Allow"] == "POST"


async def test_unreadable_body_is_rejected(client: Any) -> None:
    for body in (b"", b"{", b"[" * 100_000, b"\xff", b"nul"):
        headers = {**TOKEN, "Content-Type": "application/json"}
        async with client.post("/navigate", data=body, headers=headers) as response:
            await problem(response, 400, "invalid_json")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {**TOKEN, "Content-Type": kind}
        async with client.post("/navigate", data=b"{}", headers=headers) as response:
            await problem(response, 415, "unsupported_media_type")
    large = json.dumps({"url": "http://pages.test/", "script": "1" * 300_000})
    headers = {**TOKEN, "Content-Type": "application/json"}
    async with client.post("/navigate", data=large, headers=headers) as response:
        await problem(response, 413, "payload_too_large")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"url"}),
        ([], {"body"}),
        ({"url": 1}, {"url"}),
        ({"url": ""}, {"url"}),
        ({"url": "no address"}, {"url"}),
        ({"url": "/relative"}, {"url"}),
        ({"url": "//pages.test/"}, {"url"}),
        ({"url": "http://"}, {"url"}),
        ({"url": "http://a\nb/"}, {"url"}),
        ({"url": "http://a/" + "x" * 8192}, {"url"}),
        ({"url": "http://a/\x00"}, {"url"}),
        ({"url": "http://a/", "timeout_ms": 0}, {"timeout_ms"}),
        ({"url": "http://a/", "timeout_ms": 120_001}, {"timeout_ms"}),
        ({"url": "http://a/", "timeout_ms": "1"}, {"timeout_ms"}),
        ({"url": "http://a/", "wait_until": "never"}, {"wait_until"}),
        ({"url": "http://a/", "full_page": 1}, {"full_page"}),
        ({"url": "http://a/", "viewport": {"width": 10, "height": 100}}, {"viewport.width"}),
        ({"url": "http://a/", "viewport": {"height": 99999}}, {"viewport.height"}),
        ({"url": "http://a/", "script": "x" * 65_537}, {"script"}),
        ({"url": "http://a/", "script": "\x00"}, {"script"}),
        ({"url": "http://a/", "text_limit": -1}, {"text_limit"}),
        ({"url": "http://a/", "text_limit": 200_001}, {"text_limit"}),
        (
            {"url": 1, "timeout_ms": -1, "text_limit": None, "viewport": 3},
            {"url", "timeout_ms", "text_limit", "viewport"},
        ),
    ],
)
async def test_invalid_fields_are_each_named(body: Any, fields: set[str], client: Any) -> None:
    async with client.post("/navigate", json=body, headers=TOKEN) as response:
        told = await problem(response, 422, "validation_error")
    assert {fault["field"] for fault in told["errors"]} == fields
    assert all(fault["reason"] for fault in told["errors"])


async def test_unknown_fields_and_optional_nulls_are_accepted(client: Any, site: Any) -> None:
    body = {"url": f" {site.page('<p>x')}\n", "script": None, "viewport": None, "later": 1}
    async with client.post("/navigate", json=body, headers=TOKEN) as response:
        assert response.status == 200
        assert (await response.json())["text"] == "x"


class Gatekept:
    """Pages that load until they are let go, and the order in which they began."""

    def __init__(self, site: Any) -> None:
        self.began: list[str] = []
        self.gate = asyncio.Event()
        self.url = site.on(self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        self.began.append(request.query_string)
        await self.gate.wait()
        return web.Response(text="<p>done", content_type="text/html")

    async def until(self, count: int) -> None:
        await eventually(lambda: len(self.began) >= count)


async def waiting(client: Any, pages: int, queue: int) -> None:
    """Wait until the service says that it is this busy."""

    async def is_this_busy() -> bool:
        async with client.get("/health") as response:
            body = await response.json()
        return (body["pages_open"], body["queue_length"]) == (pages, queue)

    await eventually(is_this_busy)


async def test_full_queue_rejects_and_the_rest_is_served(
    navigate: Any, client: Any, site: Any
) -> None:
    kept = Gatekept(site)
    tasks = []
    for number in range(PAGES + QUEUE):
        tasks.append(asyncio.create_task(navigate(f"{kept.url}?{number}")))
        await waiting(client, min(number + 1, PAGES), max(0, number + 1 - PAGES))
    async with client.post("/navigate", json={"url": kept.url}, headers=TOKEN) as response:
        await problem(response, 429, "rate_limited")
        assert 1 <= int(response.headers["Retry-After"]) <= 60
    await kept.until(PAGES)
    kept.gate.set()
    answers = await asyncio.gather(*tasks)
    assert [answer["text"] for answer in answers] == ["done"] * (PAGES + QUEUE)
    first = [seen for seen in kept.began if seen in ("0", "1")]
    assert sorted(first) == ["0", "1"]
    assert sorted(kept.began) == [str(number) for number in range(PAGES + QUEUE)]
    async with client.get("/metrics") as response:
        assert "operator_browser_queue_full_total 1.0" in await response.text()


async def test_queued_pages_start_in_order_of_arrival(site: Any, names: Any) -> None:
    """With one page at a time, the order of the requests is the order of the pages."""
    from operator_svc.browser_service.service import BrowserService
    from operator_svc.protocol.navigate import NavigateRequest

    seen: list[str] = []

    async def serve(request: web.Request) -> web.Response:
        seen.append(request.query_string)
        return web.Response(text="<p>x", content_type="text/html")

    url = site.on(serve)
    one = BrowserService(
        BrowserSettings(token="t", allow="pages.test:*", pages=1, queue=8), resolver=names
    )
    await one.start()
    try:
        answers = await asyncio.gather(
            *(one.visit(NavigateRequest(url=f"{url}?{number}")) for number in range(8))
        )
    finally:
        await one.aclose()
    assert [answer.status for answer in answers] == ["ok"] * 8
    assert seen == [str(number) for number in range(8)]


async def test_disconnected_client_frees_its_page(client: Any, site: Any, service: Any) -> None:
    kept = Gatekept(site)
    gone = [
        asyncio.create_task(
            client.post("/navigate", json={"url": f"{kept.url}?{n}"}, headers=TOKEN)
        )
        for n in range(PAGES + 1)
    ]
    await kept.until(PAGES)
    await waiting(client, PAGES, 1)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    await waiting(client, 0, 0)
    assert [c.browser.contexts for c in service.pool.running] == [[]] * PAGES
    assert len(kept.began) == PAGES, "whoever left the queue was never opened"
    async with client.get("/metrics") as response:
        assert f'operator_browser_pages_total{{status="gone"}} {PAGES}.0' in await response.text()


async def test_draining_answers_open_and_queued_pages(site: Any, names: Any) -> None:
    from aiohttp.test_utils import TestClient, TestServer

    from operator_svc.browser_service.server import make_app
    from operator_svc.browser_service.service import BrowserService

    settings = BrowserSettings(token="the-token", allow="pages.test:*", pages=1, queue=5)
    stopping = BrowserService(settings, resolver=names)
    await stopping.start()
    kept = Gatekept(site)
    async with TestClient(TestServer(make_app(settings, stopping))) as client:
        tasks = [
            asyncio.create_task(client.post("/navigate", json={"url": kept.url}, headers=TOKEN))
            for _ in range(3)
        ]
        await kept.until(1)
        await waiting(client, 1, 2)
        async with asyncio.timeout(WITHIN):
            await stopping.aclose()
            for response in await asyncio.gather(*tasks):
                await problem(response, 503, "draining")
                assert response.headers["Retry-After"] == "1"
            async with client.post("/navigate", json={"url": kept.url}, headers=TOKEN) as late:
                await problem(late, 503, "draining")
        async with client.get("/health") as response:
            assert response.status == 503
            assert (await response.json())["status"] == "unavailable"
    kept.gate.set()
