"""The console in a real Chromium, as people use it, under cuts and with hostile text."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import pytest
from aiohttp import ClientSession
from playwright.async_api import Browser, expect

from tests.console.conftest import THEMES, TOKEN, WIDTHS, client, overflow, violations
from tests.console.console_page import HOSTILE, ask, new_session, signed_in
from tests.fakes.chromium import MODULE_LOOP
from tests.project.process import dev_operator

pytestmark = MODULE_LOOP

CUTS = 10
SLOW = "[[tokens=5000]] [[rate=40]] slow"


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
    await page.get_by_label("Token").fill(f"{TOKEN[:4]}…")  # no header can hold it
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("This token is not valid.")
    await page.get_by_label("Token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="New session").wait_for()


async def test_an_address_that_is_none_of_the_console_leads_to_the_list(
    browser: Browser, url: str
) -> None:
    page = await signed_in(browser, url)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    for place in ("sessions/%E0%A4%A", "constructor", "__proto__/x"):
        await page.get_by_role("link", name="System").click()
        await expect(page).to_have_title("System – Operator")
        await page.goto(f"{url}/console#/{place}")
        await expect(page).to_have_title("Sessions – Operator")
        await page.get_by_role("button", name="New session").wait_for()
    assert faults == []


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
    await expect(page.locator(".list li")).to_contain_text("3 messages")
    await page.get_by_role("button", name="Stop").click()  # it would go on after this test
    await expect(page.get_by_text("cancelled", exact=True)).to_have_count(2)


async def test_an_empty_session_suggests_a_message_whose_reply_can_be_stopped(
    browser: Browser, url: str
) -> None:
    page = await signed_in(browser, url)
    await new_session(page)
    await page.get_by_role("button", name="Write a long reply").click()
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_text("cancelled", exact=True).wait_for()
    await expect(page.locator(".message.user p")).to_have_text("Write a long reply, please.")
    await expect(page.get_by_text("Nothing was said here yet.")).to_be_hidden()


async def test_frames_are_filtered_and_texts_copied_on_a_page_without_tls(
    browser: Browser, url: str
) -> None:
    page = await signed_in(browser, url)
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    await expect(page.get_by_text("No sessions yet.")).to_be_visible()
    await new_session(page)
    await ask(page, "hello")
    await page.get_by_role("button", name="Regenerate").wait_for()
    await page.get_by_role("button", name="Frames").click()
    await page.get_by_label("Filter frames").fill("reply.completed")
    await expect(page.locator(".frames li")).to_have_count(1)
    await page.get_by_role("button", name="Copy as curl").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    box = page.get_by_label("Message", exact=True)
    await box.focus()
    await page.keyboard.press("Control+v")
    await expect(box).to_have_value(re.compile(r"^curl -sN 'http.+/events'"))


async def test_refused_message_stays_in_the_composer(browser: Browser, tmp_path: Path) -> None:
    with dev_operator(tmp_path, TOKEN, OPERATOR_CHAT_RATE="1", BROWSER_URL="") as url:
        page = await signed_in(browser, url)
        await new_session(page)
        await ask(page, "the first")
        await page.get_by_role("button", name="Regenerate").wait_for()
        await ask(page, "the second")
        await page.get_by_role("alert").wait_for()
        await expect(page.get_by_label("Message", exact=True)).to_have_value("the second")
        await expect(page.locator(".message.user")).to_have_count(1)


async def test_failed_reply_says_why_and_is_tried_again_without_doubling_the_message(
    browser: Browser, url: str
) -> None:
    page = await signed_in(browser, url)
    await new_session(page)
    await ask(page, "[[error]] fails")
    await page.get_by_text(re.compile(r"The reply failed: Switch.+ \(switch_error\)\.")).wait_for()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".message.reply")).to_have_count(2)
    await expect(page.locator(".message.user")).to_have_count(1)


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
    await page.get_by_role("button", name="New session").click()
    await ask(page, "one more")
    await expect(sessions).to_have_count(53)
    await expect(sessions.first).to_contain_text("one more")


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


async def test_system_shows_modules_engines_and_adjustments(
    browser: Browser, tmp_path: Path
) -> None:
    with dev_operator(tmp_path, TOKEN) as url:
        page = await signed_in(browser, url)
        await page.get_by_role("link", name="System").click()
        await page.get_by_role("heading", name="tentaculo_link").wait_for()
        await page.get_by_text("No replies were rated yet.").wait_for()
        await page.get_by_text("No tokens were counted yet.").wait_for()
        await page.get_by_role("link", name="Sessions").click()
        await new_session(page)
        await ask(page, "count this")
        await page.get_by_role("button", name="Regenerate").wait_for()
        await page.get_by_role("link", name="System").click()
        await page.get_by_role("group", name="Model, Replies").get_by_role("cell").first.wait_for()
        body = {"after_config": {"mode": "ECO"}, "reason": HOSTILE}
        async with (
            client(url) as calls,
            calls.post("/operator/switch/adjustment", json=body) as answer,
        ):
            assert answer.status == 201
        await page.get_by_role("button", name="Apply").click()
        await page.get_by_role("button", name="Revert").click()
        await page.get_by_role("cell", name="reverted").wait_for()


async def test_browser_task_shows_its_states_and_screenshot_and_is_cancelled(
    browser: Browser, tmp_path: Path
) -> None:
    with dev_operator(tmp_path, TOKEN, True, BROWSER_ALLOW="127.0.0.1:*") as url:
        page = await signed_in(browser, url)
        await page.get_by_role("link", name="Browser tasks").click()
        await page.get_by_text("No tasks yet.").wait_for()
        await page.get_by_label("Address").fill("http://192.168.0.1/")
        await page.get_by_role("button", name="Open").click()
        await page.get_by_text("blocked").first.wait_for(timeout=60_000)
        # A page that makes a call without a token, which Chromium complains of.
        await page.get_by_label("Address").fill(f"{url}/console")
        await page.get_by_role("button", name="Open").click()
        picture = page.get_by_alt_text(f"Screenshot of {url}/console")
        await picture.wait_for(timeout=60_000)
        assert await picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        await page.get_by_text("Console (1)").click()
        await expect(page.locator("pre")).to_contain_text("401")
        with socket.create_server(("127.0.0.1", 0)) as mute:  # it accepts, and never answers
            port = mute.getsockname()[1]
            await page.get_by_label("Address").fill(f"http://127.0.0.1:{port}/")
            await page.get_by_role("button", name="Open").click()
            row = page.get_by_role("row").filter(has_text=f":{port}/")
            await row.get_by_role("cell", name="running").wait_for(timeout=60_000)
            await row.get_by_role("button", name="Cancel").click()
            await row.get_by_role("cell", name="cancelled").wait_for(timeout=60_000)
            await expect(row.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize("width", WIDTHS, ids=("wide", "phone"))
async def test_axe_finds_nothing_and_nothing_overflows(
    browser: Browser, url: str, width: tuple[int, int]
) -> None:
    size = {"width": width[0], "height": width[1]}
    page = await signed_in(browser, url, viewport=size, bypass_csp=True)
    await new_session(page)
    await ask(page, "# Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nprint(1)\n```")
    await page.get_by_role("button", name="Regenerate").wait_for()
    for view in (None, "Browser tasks", "System"):
        if view is not None:
            await page.get_by_role("link", name=view).click()
            await page.locator("h2").first.wait_for()
            await expect(page.get_by_text("…", exact=True)).to_have_count(0)
        for theme in THEMES:
            await page.emulate_media(color_scheme=theme)
            assert await violations(page) == [], (view, theme)
            assert await overflow(page) <= 0, (view, theme)
