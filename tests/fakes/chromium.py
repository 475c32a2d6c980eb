"""A real Chromium for tests of pages: one for a module, and nothing in it from test to test.

A module that uses it runs its tests in the module's event loop (``MODULE_LOOP``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from operator_svc.background import AsyncCloseable
from operator_svc.browser_service.chromium import find_executable
from operator_svc.settings import BrowserSettings, load
from tests.project.process import python_path

MODULE_LOOP = pytest.mark.asyncio(loop_scope="module")
CLOSING = 30.0
"""Seconds that it may take to close what a test opened."""

expect.set_options(timeout=30_000)


class Chromium(AsyncCloseable):
    """Lends a Chromium to one test after the other. It starts when it is asked for the first time,
    and anew after it did not answer at the end of a test."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._browser: Browser | None = None

    async def aclose(self) -> None:
        """End Chromium and its driver."""
        await self._stack.aclose()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Browser]:
        """Chromium without any page. At the end all contexts are closed, with their pages, routes,
        cookies and storage; raises where Chromium has died or does not answer."""
        browser = self._browser or await self._start()
        self._browser = None
        try:
            yield browser
        finally:
            async with asyncio.timeout(CLOSING):
                for context in browser.contexts:
                    await context.close()
                await (await browser.new_browser_cdp_session()).detach()
            self._browser = browser

    async def _start(self) -> Browser:
        await self.aclose()  # the driver of one that died
        settings, _ = load(BrowserSettings, {"BROWSER_TOKEN": "unused"})
        executable = find_executable(settings, python_path())
        # The driver ends its Chromium too, whether or not that still answers.
        playwright = await self._stack.enter_async_context(async_playwright())
        return await playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Chromium]:
    """The module's Chromium; tests take ``browser``."""
    async with Chromium() as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Chromium) -> AsyncIterator[Browser]:
    """The module's Chromium, for this test alone and without any page. A test opens what it likes,
    and closes nothing; one that ends Chromium fails, and the next one has another."""
    async with chromium.lent() as lent:
        yield lent
