"""Hostile text in every field that the console shows, in a real Chromium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession
from playwright.async_api import Browser, Page, Route, expect

from tests.console.conftest import TOKEN
from tests.console.console_page import HOSTILE, ask, new_session, signed_in
from tests.console.hostile_model import hostile_model
from tests.fakes.chromium import MODULE_LOOP
from tests.project.process import dev_operator

pytestmark = MODULE_LOOP


async def is_text(page: Page, view: str) -> bool:
    """True where no hostile text of the page became more than text."""
    made = page.locator("main").locator("img, script, b, a[href^=javascript]")
    return await made.count() == 0 and await page.title() == f"{view} – Operator"


async def test_hostile_text_of_a_model_stays_text_in_messages_and_frames(
    browser: Browser, tmp_path: Path
) -> None:
    async with hostile_model(HOSTILE) as model:
        settings = {"SWITCH_URL": model, "SWITCH_DIALECT": "openai", "SWITCH_MODEL": "m"}
        with dev_operator(tmp_path, TOKEN, BROWSER_URL="", **settings) as url:
            page = await signed_in(browser, url)
            await new_session(page)
            await page.get_by_role("button", name="Frames").click()
            await expect(page.locator(".frames li").first).to_contain_text('"type":"ready"')
            await ask(page, HOSTILE)
            await page.get_by_role("button", name="Regenerate").wait_for()
            frames = page.locator(".frames li").filter(has_text="onerror")
            for kind in ("message.created", '"reasoning"', "tool_call.recorded", "reply.completed"):
                await frames.filter(has_text=kind).first.wait_for()
            reply = page.locator(".message.reply")
            await reply.get_by_text("Reasoning").click()
            await reply.get_by_text("Tool <img").click()
            for part in ("details >> p", ".card pre", ".meta", ".body pre", ".body table"):
                await expect(reply.locator(part).first).to_contain_text("onerror")
            assert await is_text(page, "Sessions")
            await page.reload()  # the same from the history
            await reply.get_by_text("Tool <img").click()
            await expect(reply.locator(".card pre")).to_contain_text("onerror")
            assert await is_text(page, "Sessions")


def hostile(value: Any) -> Any:
    """``value`` with hostile text in place of every text, and in each list."""
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value or [HOSTILE]]
    return HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize("view", ["System", "Browser tasks"])
async def test_hostile_text_of_every_field_stays_text(
    browser: Browser, url: str, calls: ClientSession, view: str
) -> None:
    async with calls.get("/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    examples = {
        path: content["application/json"]["example"]
        for path, methods in paths.items()
        for content in [
            methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        ]
        if "example" in content.get("application/json", {})
    }
    asked: set[str] = set()

    async def answer_hostile(route: Route) -> None:
        path = urlsplit(route.request.url).path
        template = next((t for t in examples if re.fullmatch(re.sub("{.*}", "[^/]+", t), path)), "")
        asked.add(template)
        if template:
            await route.fulfill(json=hostile(examples[template]))
        else:  # a picture, which a page cannot be led to take for a text
            await route.fulfill(status=404, json={"error": HOSTILE, "detail": HOSTILE})

    page = await signed_in(browser, url)
    await page.route(re.compile("/operator/(?!me)"), answer_hostile)
    await page.get_by_role("link", name=view).click()
    await page.locator("main").get_by_text("onerror").first.wait_for()
    await expect(page.get_by_text("…", exact=True)).to_have_count(0)
    if view == "Browser tasks":
        await page.locator("main table a").first.click()
        await page.locator("main section h2").get_by_text("onerror").wait_for()
        for closed in ("Text", "Console (1)"):
            await page.locator("summary").get_by_text(closed).click()
            await expect(page.locator("details[open]").last).to_contain_text("onerror")
    assert len(asked) >= (6 if view == "System" else 3)
    assert await is_text(page, view)
    assert "[object" not in await page.locator("main").inner_text()
