"""A page in its own browser context, with its navigation guard and console."""

from __future__ import annotations

import asyncio

import structlog
from playwright.async_api import BrowserContext, CDPSession, ConsoleMessage, Download, Page
from playwright.async_api import Error as PlaywrightError

from operator_svc.background import TaskOwner
from operator_svc.browser_service.chromium import Chromium
from operator_svc.browser_service.navigation_guard import NavigationGuard
from operator_svc.browser_service.page_proxy import PageProxy
from operator_svc.browser_service.scripts import console_limiter
from operator_svc.protocol.navigate import Viewport
from operator_svc.protocol.text import storable

log = structlog.get_logger(__name__)

OPEN_TIMEOUT = 30.0
CLOSE_TIMEOUT = 30.0
"""Seconds after which Chromium counts as hung; on an overloaded machine either can take many."""
MAX_CONSOLE_LINES = 100
MAX_CONSOLE_LINE = 1000


class ChromiumGoneError(Exception):
    """Chromium or its driver does not respond any more."""


class Tab:
    """An open page, created by `open_tab`; the creator calls ``aclose``."""

    def __init__(
        self,
        chromium: Chromium,
        context: BrowserContext,
        page: Page,
        session: CDPSession,
        navigation: NavigationGuard,
        tasks: TaskOwner,
    ) -> None:
        self.page = page
        self.session = session
        self.navigation = navigation
        self._chromium = chromium
        self._context = context
        self._tasks = tasks
        self._lines: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("download", self._on_download)
        context.on("page", self._on_popup)

    def console(self, proxy: PageProxy) -> list[str]:
        """The console's lines, then the navigations and connections that were refused."""
        self._unsubscribe()
        for url, reason in self.navigation.refused:
            self._add_line(f"refused: {url} ({reason})")
        listed = {proxy.host_and_port(url) for url, _ in self.navigation.refused}
        for key, failure in proxy.failures.items():
            if failure.blocked and key not in listed:
                self._add_line(f"refused: {failure.host}:{failure.port} ({failure.reason})")
        return list(self._lines)

    def _add_line(self, line: str) -> None:
        if len(self._lines) < MAX_CONSOLE_LINES:
            self._lines.append(storable(line[:MAX_CONSOLE_LINE]))

    def _on_console(self, message: ConsoleMessage) -> None:
        self._add_line(f"{message.type}: {message.text}")
        if len(self._lines) >= MAX_CONSOLE_LINES:
            self._unsubscribe()

    def _on_error(self, error: PlaywrightError) -> None:
        self._add_line(f"error: {error}")
        if len(self._lines) >= MAX_CONSOLE_LINES:
            self._unsubscribe()

    def _unsubscribe(self) -> None:
        """Stop console events: a page may log without end."""
        self.page.remove_listener("console", self._on_console)
        self.page.remove_listener("pageerror", self._on_error)

    def _on_download(self, download: Download) -> None:
        self._add_line(f"refused: the download of {download.url}")
        self.navigation.canceled.set()

    def _on_popup(self, popup: Page) -> None:
        self._add_line("refused: a new window")
        self._tasks.start(self._close_popup(popup), "popup")

    async def _close_popup(self, popup: Page) -> None:
        try:
            await popup.close()
        except PlaywrightError as error:
            log.debug("popup already closed", reason=error.message)

    async def aclose(self) -> None:
        """Close the context with everything in it; Chromium is killed where that fails."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._context.close()
        except (PlaywrightError, TimeoutError) as error:
            if not self._chromium.died.is_set():
                log.warning("context close failed, killing chromium", exc_info=error)
                self._chromium.abandon()


async def open_tab(
    chromium: Chromium, proxy: PageProxy, viewport: Viewport, tasks: TaskOwner
) -> Tab:
    """Open an empty page whose only network is ``proxy``; raises ChromiumGoneError."""
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            context = await chromium.browser.new_context(
                # Explicit: otherwise an environment variable could turn the bypass rule off.
                proxy={"server": proxy.url, "bypass": "<-loopback>"},
                viewport={"width": viewport.width, "height": viewport.height},
                accept_downloads=False,
            )
            await context.add_init_script(console_limiter(MAX_CONSOLE_LINES, MAX_CONSOLE_LINE))
            page = await context.new_page()
            session = await context.new_cdp_session(page)
            navigation = NavigationGuard(session, proxy, tasks)
            await navigation.start()
    except (PlaywrightError, TimeoutError) as error:
        log.warning("page open failed, killing chromium", exc_info=error)
        chromium.abandon()
        raise ChromiumGoneError from error
    return Tab(chromium, context, page, session, navigation, tasks)
