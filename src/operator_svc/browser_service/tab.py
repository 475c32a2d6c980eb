"""A page in a context of its own, with its guard and its console."""

from __future__ import annotations

import asyncio

import structlog
from playwright.async_api import BrowserContext, CDPSession, ConsoleMessage, Download, Page
from playwright.async_api import Error as PlaywrightError

from operator_svc.background import TaskOwner
from operator_svc.browser_service.chromium import Chromium
from operator_svc.browser_service.navigation_guard import NavigationGuard
from operator_svc.browser_service.page_proxy import PageProxy
from operator_svc.browser_service.scripts import quiet_console
from operator_svc.protocol.navigate import Viewport
from operator_svc.protocol.text import storable

log = structlog.get_logger(__name__)

OPEN_TIMEOUT = 30.0
CLOSE_TIMEOUT = 30.0
"""Seconds after which Chromium is taken to hang. Long: ending it ends all other pages too, and on
a machine with far too much to do either can take many seconds."""
MAX_CONSOLE_LINES = 100
MAX_CONSOLE_LINE = 1000


class ChromiumGoneError(Exception):
    """Chromium or its driver does not answer any more."""


class Tab:
    """An open page, made by `open_tab`; whoever opened it calls ``aclose``."""

    def __init__(
        self,
        chromium: Chromium,
        context: BrowserContext,
        page: Page,
        session: CDPSession,
        guard: NavigationGuard,
        tasks: TaskOwner,
    ) -> None:
        self.page = page
        self.session = session
        self.guard = guard
        self._chromium = chromium
        self._context = context
        self._tasks = tasks
        self._lines: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("download", self._on_download)
        context.on("page", self._on_popup)

    def note(self, line: str) -> None:
        """Add a line to the console, within its limits."""
        if len(self._lines) < MAX_CONSOLE_LINES:
            self._lines.append(storable(line[:MAX_CONSOLE_LINE]))

    def console(self, lane: PageProxy) -> list[str]:
        """The console's lines, then what the page was kept from."""
        self._unsubscribe()
        for url, reason in self.guard.refused:
            self.note(f"refused: {url} ({reason})")
        told = {lane.where(url) for url, _ in self.guard.refused}
        for where, refusal in lane.refusals.items():
            if refusal.blocked and where not in told:
                self.note(f"refused: {refusal.host}:{refusal.port} ({refusal.reason})")
        return list(self._lines)

    def _on_console(self, message: ConsoleMessage) -> None:
        self.note(f"{message.type}: {message.text}")
        if len(self._lines) >= MAX_CONSOLE_LINES:
            self._unsubscribe()

    def _on_error(self, error: PlaywrightError) -> None:
        self.note(f"error: {error}")
        if len(self._lines) >= MAX_CONSOLE_LINES:
            self._unsubscribe()

    def _unsubscribe(self) -> None:
        """Hear no more of the console: a page may write without end."""
        self.page.remove_listener("console", self._on_console)
        self.page.remove_listener("pageerror", self._on_error)

    def _on_download(self, download: Download) -> None:
        self.note(f"refused: the download of {download.url}")
        self.guard.stayed.set()

    def _on_popup(self, popup: Page) -> None:
        self.note("refused: a new window")
        self._tasks.start(self._close_popup(popup), "popup")

    async def _close_popup(self, popup: Page) -> None:
        try:
            await popup.close()
        except PlaywrightError as error:
            log.debug("popup was gone", reason=error.message)

    async def aclose(self) -> None:
        """Close the context with all that it has; Chromium is ended where that fails."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._context.close()
        except (PlaywrightError, TimeoutError) as error:
            if not self._chromium.died.is_set():
                log.warning("a context could not be closed: chromium is ended", exc_info=error)
                self._chromium.give_up()


async def open_tab(
    chromium: Chromium, lane: PageProxy, viewport: Viewport, tasks: TaskOwner
) -> Tab:
    """Open an empty page whose only way out is ``lane``; raises ChromiumGoneError."""
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            context = await chromium.browser.new_context(
                # Said outright: without it, a variable of the environment could switch it off.
                proxy={"server": lane.url, "bypass": "<-loopback>"},
                viewport={"width": viewport.width, "height": viewport.height},
                accept_downloads=False,
            )
            await context.add_init_script(quiet_console(MAX_CONSOLE_LINES, MAX_CONSOLE_LINE))
            page = await context.new_page()
            session = await context.new_cdp_session(page)
            guard = NavigationGuard(session, lane, tasks)
            await guard.start()
    except (PlaywrightError, TimeoutError) as error:
        log.warning("chromium opens no page: it is ended", exc_info=error)
        chromium.give_up()
        raise ChromiumGoneError from error
    return Tab(chromium, context, page, session, guard, tasks)
