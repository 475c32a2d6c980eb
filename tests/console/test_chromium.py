"""The Chromium that the tests of a module share: nothing reaches the next test."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from playwright.async_api import Browser, Route
from playwright.async_api import Error as PlaywrightError

from operator_svc.browser_service.process_memory import parent_of
from tests.fakes.chromium import MODULE_LOOP, Chromium
from tests.fakes.eventually import eventually

pytestmark = MODULE_LOOP
ADDRESS = "http://pages.test/"


async def fail_with_open_pages(chromium: Chromium) -> None:
    """Fail while one page waits for an answer and for a person, and another one is busy."""

    async def answer(route: Route) -> None:
        if route.request.url != ADDRESS:
            await asyncio.Event().wait()
        await route.fulfill(body="a page")

    async with chromium.lent() as browser:
        page = await browser.new_page()
        await page.route("**", answer)
        await page.goto(ADDRESS)
        async with page.expect_event("dialog"):
            await page.evaluate("void fetch('/never'); setTimeout(() => alert('waits'))")
        page = await browser.new_page()
        await page.evaluate("setTimeout(() => { while (true); })")
        raise ZeroDivisionError


async def test_nothing_of_a_test_that_fails_reaches_the_next_one(chromium: Chromium) -> None:
    async with chromium.lent() as before:
        pass
    with pytest.raises(ZeroDivisionError):
        await fail_with_open_pages(chromium)
    async with chromium.lent() as browser:
        assert browser is before
        assert browser.contexts == []
        assert await (await browser.new_page()).evaluate("1 + 1") == 2


async def kill(browser: Browser, victim: str) -> None:
    """Kill Chromium, or the driver, which started it as the first of a group of processes."""
    session = await browser.new_browser_cdp_session()
    told = await session.send("SystemInfo.getProcessInfo")
    (process,) = [each["id"] for each in told["processInfo"] if each["type"] == "browser"]
    pid = process if victim == "Chromium" else parent_of(os.getpgid(process))
    os.kill(pid, signal.SIGKILL)
    if victim == "Chromium":  # what it had open is gone at once
        await eventually(lambda: browser.contexts == [])


async def end_chromium(chromium: Chromium, victim: str) -> Browser:
    """A test that ends without a fault of its own, while Chromium or its driver is dead."""
    async with chromium.lent() as browser:
        await browser.new_page()
        await kill(browser, victim)
        return browser


@pytest.mark.parametrize("victim", ["Chromium", "driver"])
async def test_one_that_died_fails_its_test_and_the_next_one_has_another(
    chromium: Chromium, victim: str
) -> None:
    with pytest.raises(PlaywrightError, match="closed"):
        await end_chromium(chromium, victim)
    async with chromium.lent() as browser:
        assert browser.contexts == []
        assert await (await browser.new_page()).evaluate("1 + 1") == 2
