"""The console in a real Chromium, as people use it, under cuts and with hostile text."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession
from playwright.async_api import Browser, Page, Route, expect

from tests.console.conftest import TOKEN, WIDTHS, overflow, violations
from tests.console.hostile_model import hostile_model
from tests.project.process import dev_operator

HOSTILE = "<img src=x onerror=\"document.title='owned'\"> [click](javascript:alert(1)) `<b>`"
CUTS = 10
SLOW = "[[tokens=2000]] [[rate=40]] slow"


async def signed_in(browser: Browser, url: str, **options: Any) -> Page:
    """A page of the console with the token; a fault of its scripts fails the test."""
    page = await browser.new_page(**options)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.goto(f"{url}/console#token={TOKEN}")
    await page.get_by_role("button", name="New session").wait_for()
    assert not faults
    return page


async def new_session(page: Page) -> None:
    """Open one, and wait until it can be written into."""
    await page.get_by_role("button", name="New session").click()
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()


async def ask(page: Page, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def test_token_leaves_the_address_and_stays_out_of_the_history(
    browser: Browser, url: str
) -> None:
    page = await signed_in(browser, url)
    assert TOKEN not in page.url
    assert TOKEN not in await page.content()


async def test_wrong_token_is_named_and_can_be_replaced(browser: Browser, url: str) -> None:
    page = await browser.new_page()
    await page.goto(f"{url}/console#token=wrong")
    await expect(page.get_by_role("alert")).to_have_text("This token is not valid.")
    await page.get_by_label("Token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="New session").wait_for()


async def test_reply_survives_cut_after_cut_and_shows_in_a_second_tab(
    browser: Browser, url: str, calls: ClientSession
) -> None:
    page = await signed_in(browser, url)
    await new_session(page)
    await ask(page, SLOW)
    await page.locator(".streaming").wait_for()
    second = await signed_in(browser, url)
    await second.goto(page.url)
    await second.locator(".message.reply").wait_for()
    body = page.locator(".message.reply .body")
    for _ in range(CUTS):
        length = len(await body.inner_text())
        await page.get_by_role("button", name="Cut connection").click()
        await expect(page.locator(".badge")).to_have_text("live")
        await page.wait_for_function(
            "most => document.querySelector('.streaming').innerText.length > most", arg=length
        )
    await page.get_by_role("button", name="Stop").click()
    for tab in (page, second):
        await tab.get_by_text("cancelled", exact=True).wait_for()
    async with calls.get(f"/operator/session/{page.url.split('/')[-1]}") as answer:
        assert answer.status == 200, (page.url, await answer.text())
        stored = (await answer.json())["messages"][1]["content"]
    for tab in (page, second):
        assert await tab.locator(".message.reply .body").inner_text() == stored


async def test_reply_is_stopped_and_regenerated_by_keyboard(browser: Browser, url: str) -> None:
    page = await signed_in(browser, url)
    await new_session(page)
    await ask(page, SLOW)
    await page.get_by_role("button", name="Stop").focus()
    await page.keyboard.press("Enter")
    await page.get_by_text("cancelled", exact=True).wait_for()
    await page.get_by_role("button", name="Regenerate").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".message.reply")).to_have_count(2)
    await page.get_by_text("answer 1 of 2").wait_for()
    await page.get_by_text("answer 2 of 2").wait_for()
    await page.get_by_role("button", name="Stop").click()  # its Operator ends once it has
    await expect(page.get_by_text("cancelled", exact=True)).to_have_count(2)


async def test_failed_reply_says_why_and_is_tried_again_without_doubling_the_message(
    browser: Browser, url: str
) -> None:
    page = await signed_in(browser, url)
    await new_session(page)
    await ask(page, "[[error]] fails")
    await page.get_by_text("The reply failed: switch_error.").wait_for()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".message.reply")).to_have_count(2)
    await expect(page.locator(".message.user")).to_have_count(1)


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


async def test_tool_calls_are_cards_with_their_values(
    browser: Browser, url: str, calls: ClientSession
) -> None:
    page = await signed_in(browser, url)
    await new_session(page)
    await ask(page, "[[tool_call]] look it up")
    card = page.get_by_text("Tool standin_tool")
    await card.click()
    await expect(page.locator(".card pre")).to_contain_text('"query"')
    hostile = {"tool_name": HOSTILE, "status": "error", "error": HOSTILE, "result": HOSTILE}
    async with calls.get(f"/operator/session/{page.url.split('/')[-1]}") as answer:
        reply = (await answer.json())["messages"][1]["id"]
    async with calls.post("/operator/tool/call", json={"message_id": reply, **hostile}) as answer:
        assert answer.status == 201
    await page.get_by_text(f"Tool {HOSTILE}").click()
    await expect(page.locator(".card").last).to_contain_text("onerror")
    assert await page.locator(".messages img").count() == 0


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


async def test_older_sessions_are_a_click_away(
    browser: Browser, url: str, calls: ClientSession
) -> None:
    async def chat(number: int) -> None:
        body = {"session_id": f"s-{number}", "message": "hello"}
        async with calls.post("/operator/chat", json=body) as answer:
            assert answer.status == 200

    await asyncio.gather(*map(chat, range(52)))
    page = await signed_in(browser, url)
    sessions = page.locator(".list li")
    await expect(sessions).to_have_count(50)
    await page.get_by_role("button", name="Older sessions").click()
    await expect(sessions).to_have_count(52)


async def test_sessions_are_searched_exported_and_deleted(browser: Browser, url: str) -> None:
    page = await signed_in(browser, url)
    for word in ("kangaroo", "wombat"):
        await new_session(page)
        await ask(page, word)
        await page.get_by_role("button", name="Regenerate").wait_for()
    sessions = page.locator(".list li")
    await expect(sessions).to_have_count(2)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export").click()
    exported = Path(await (await download.value).path()).read_text()
    assert '"type":"session"' in exported
    assert "wombat" in exported
    page.once("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="Delete").click()
    await expect(sessions).to_have_count(1)


async def test_system_shows_modules_and_engines(browser: Browser, url: str) -> None:
    page = await signed_in(browser, url)
    await page.get_by_role("link", name="System").click()
    await page.get_by_role("heading", name="tentaculo_link").wait_for()
    await page.get_by_text("No feedback in this window.").wait_for()
    await page.get_by_text("None counted.").wait_for()
    await page.get_by_role("link", name="Sessions").click()
    await new_session(page)
    await ask(page, "count this")
    await page.get_by_role("button", name="Regenerate").wait_for()
    await page.get_by_role("link", name="System").click()
    await page.get_by_role("group", name="Model, Replies").get_by_role("cell").first.wait_for()


async def test_browser_task_shows_its_states_and_screenshot(browser: Browser, url: str) -> None:
    page = await signed_in(browser, url)
    await page.get_by_role("link", name="Browser tasks").click()
    await page.get_by_label("Address").fill(f"{url}/docs")
    await page.get_by_role("button", name="Open").click()
    await page.get_by_text("blocked").first.wait_for(timeout=60_000)


@pytest.mark.parametrize("width", WIDTHS, ids=("wide", "phone"))
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_and_nothing_overflows(
    browser: Browser, url: str, width: tuple[int, int], theme: Any
) -> None:
    size = {"width": width[0], "height": width[1]}
    page = await signed_in(browser, url, viewport=size, color_scheme=theme, bypass_csp=True)
    await new_session(page)
    await ask(page, "# Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nprint(1)\n```")
    await page.get_by_role("button", name="Regenerate").wait_for()
    for view in (None, "Browser tasks", "System"):
        if view is not None:
            await page.get_by_role("link", name=view).click()
            await page.locator("h2").first.wait_for()
        assert await violations(page) == []
        assert await overflow(page) <= 0
