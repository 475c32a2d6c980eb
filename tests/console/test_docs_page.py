"""The published documents as a page, in a real Chromium: to read, and to try calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Locator, Page, expect

from tests.console.conftest import THEMES, TOKEN, WIDTHS, overflow, violations
from tests.fakes.chromium import MODULE_LOOP

pytestmark = MODULE_LOOP
PREFIX = "/vx11/operator/"


async def opened(browser: Browser, url: str, **options: Any) -> Page:
    page = await browser.new_page(**options)
    await page.goto(url)
    await page.locator("body[data-ready]").wait_for()
    return page


async def call(page: Page, name: str) -> Locator:
    """The form of a call, opened."""
    details = page.locator(f"details[id='{name}']")
    await details.locator("summary").first.click()
    return details.locator("form")


@pytest_asyncio.fixture(loop_scope="module")
async def prefixed(url: str) -> AsyncIterator[str]:
    """The same Operator's address behind a proxy that serves it under a path."""

    async def forward(request: web.Request) -> web.StreamResponse:
        target = f"{url}/{request.match_info['path']}"
        headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, target, headers=headers, data=await request.read(),
                params=request.query,
            ) as answer,
        ):  # fmt: skip
            hop = {"transfer-encoding", "content-length", "connection", "content-encoding"}
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in hop}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    app = web.Application()
    app.router.add_route("*", PREFIX + "{path:.*}", forward)
    async with TestServer(app) as server:
        yield str(server.make_url(PREFIX))


async def test_calls_are_tried_with_a_token_and_streams_are_shown_and_stopped(
    browser: Browser, url: str
) -> None:
    page = await opened(browser, f"{url}/docs")
    form = await call(page, "chat")
    await form.get_by_role("button", name="Send").click()
    await form.get_by_text("401").first.wait_for()
    await page.get_by_label("Token").fill(TOKEN)
    await form.get_by_label("Answer as").select_option("text/event-stream")
    await form.get_by_role("textbox", name="Body").fill(
        '{"session_id": "tried", "message": "hello"}'
    )
    await form.get_by_role("button", name="Send").click()
    await form.get_by_text("reply.completed").wait_for()

    form = await call(page, "getSession")
    await form.get_by_label("session_id").fill("tried")
    await form.get_by_label("limit").fill("1")
    await form.get_by_role("button", name="Send").click()
    answer = form.get_by_label("Body of the answer")
    await expect(answer).to_contain_text('"session_id": "tried"')
    assert len(json.loads(await answer.inner_text())["messages"]) == 1

    form = await call(page, "getSessionEvents")
    await form.get_by_label("session_id").fill("tried")
    await form.get_by_label("after").fill("0")
    await form.get_by_label("Answer as").select_option("text/event-stream")
    await form.get_by_role("button", name="Send").click()
    await expect(form.get_by_label("Body of the answer")).to_contain_text("reply.completed")
    await form.get_by_role("button", name="Stop").click()
    await expect(form.get_by_role("button", name="Stop")).to_be_hidden()


async def test_the_page_shows_both_documents_and_asks_no_other_host(
    browser: Browser, url: str, calls: aiohttp.ClientSession
) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page = await browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{url}/docs")
    await page.locator("body[data-ready]").wait_for()
    text = await page.inner_text("main")
    await page.fill("#filter", "tool-calls")
    visible = await page.locator("details:visible").count()
    assert complaints == []
    assert [address for address in asked if not address.startswith(f"{url}/")] == []
    async with calls.get("/openapi.json") as answer:
        names = list((await answer.json())["paths"])
    async with calls.get("/asyncapi.json") as answer:
        names += (await answer.json())["components"]["messages"]
    assert [name for name in names if name not in text] == []
    assert 1 <= visible < 5


async def test_calls_and_links_stay_under_the_path_prefix(browser: Browser, prefixed: str) -> None:
    asked: list[str] = []
    page = await browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{prefixed}docs")
    await page.locator("body[data-ready]").wait_for()
    await page.get_by_label("Token").fill(TOKEN)
    form = await call(page, "getMe")
    await form.get_by_role("button", name="Send").click()
    await expect(form.get_by_label("Body of the answer")).to_contain_text('"role": "operator"')
    await page.get_by_role("link", name="openapi.json").click()
    await page.wait_for_url("**/openapi.json")
    assert [address for address in asked if not address.startswith(prefixed)] == []


async def test_markdown_of_descriptions_is_rendered_and_html_stays_text(
    browser: Browser, url: str, calls: aiohttp.ClientSession
) -> None:
    async with calls.get("/openapi.json") as answer:
        document = await answer.json()
    hostile = "**bold** `code` <img src=x onerror=\"document.title='owned'\">"
    document["info"]["description"] = hostile
    document["paths"]["/operator/chat"]["post"]["description"] = hostile
    page = await browser.new_page()
    await page.route("**/openapi.json", lambda route: route.fulfill(json=document))
    await page.goto(f"{url}/docs")
    await page.locator("body[data-ready]").wait_for()
    await call(page, "chat")
    for place in (page.locator("#about"), page.locator("details[id=chat]")):
        await expect(place.locator("strong").first).to_have_text("bold")
        assert "<img src=x" in (await place.text_content() or "")
    assert await page.locator("img").count() == 0
    assert await page.title() != "owned"


async def test_axe_finds_nothing_and_nothing_overflows_of_open_calls(
    browser: Browser, url: str
) -> None:
    page = await opened(browser, f"{url}/docs", bypass_csp=True)
    await call(page, "chat")
    for name in ("http.ChatAnswer", "server.event"):
        await page.locator(f"details[id='{name}'] summary").click()
    for (width, height), theme in zip(WIDTHS, THEMES, strict=True):
        await page.set_viewport_size({"width": width, "height": height})
        await page.emulate_media(color_scheme=theme)
        assert await violations(page) == [], (width, theme)
    await page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    await expect(page.locator("form.try").last).to_be_visible()
    assert await overflow(page) <= 0
