"""Steps of a visit: load the page, run the caller's script, capture the content."""

from __future__ import annotations

import asyncio
import math
import re
import time
from dataclasses import dataclass, field
from typing import Any

import structlog
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Response
from playwright.async_api import TimeoutError as PlaywrightTimeout

from operator_svc.browser_service import scripts
from operator_svc.browser_service.page_proxy import PageProxy
from operator_svc.browser_service.screenshot import take_screenshot
from operator_svc.browser_service.tab import Tab
from operator_svc.errors import OperatorError
from operator_svc.protocol.navigate import Link, NavigateRequest, PageStatus, Visit

log = structlog.get_logger(__name__)

GRACE = 2.0
"""Seconds to capture a page whose own time is over."""
STUCK = 0.5
"""Seconds that a page may still take to finish loading when nothing more will arrive."""
_CAPTURE_ATTEMPTS = 5

_NET_ERROR = re.compile(r"net::(ERR_[A-Z0-9_]+)")
_PROTOCOL_ERROR = re.compile(r"Protocol error \(Runtime\.evaluate\)")
_NOT_COMMITTED = ("", "about:blank")


@dataclass
class VisitProgress:
    """Everything known of a visit so far."""

    request: NavigateRequest
    started: float = field(default_factory=time.monotonic)
    deadline: float = math.inf
    status: PageStatus = "ok"
    error: str | None = None
    final_url: str = ""
    http_status: int | None = None
    script_error: str | None = None
    script_result: Any = None
    content: scripts.PageContent | None = None
    screenshot: bytes | None = None

    def start_clock(self) -> None:
        """Start the page's time, which does not include opening the context."""
        self.deadline = time.monotonic() + self.request.timeout_ms / 1000

    def remaining(self) -> float:
        """Seconds left of the page's time; never zero, which would mean no timeout."""
        return max(self.deadline - time.monotonic(), 0.001)

    def fail(self, status: PageStatus, error: str) -> None:
        """End with ``status`` and ``error``."""
        self.status, self.error = status, error

    def note(self, remark: str) -> None:
        """Add to ``error`` and leave the status."""
        self.error = remark if self.error is None else f"{self.error}; {remark}"

    def time_out(self) -> None:
        """End as a page that took too long."""
        self.fail("timeout", f"the page was not ready within {self.request.timeout_ms} ms")

    def result(self, console: list[str]) -> Visit:
        """Return the answer of ``/navigate``."""
        content = self.content
        return Visit(
            status=self.status,
            url=self.request.url,
            final_url=self.final_url or self.request.url,
            http_status=self.http_status,
            title=content.title if content else "",
            text=content.text if content else "",
            links=[Link(*link) for link in content.links] if content else [],
            screenshot=self.screenshot,
            script_result=self.script_result,
            console=console,
            error=self.error,
            duration_ms=round((time.monotonic() - self.started) * 1000),
        )


async def load(tab: Tab, proxy: PageProxy, progress: VisitProgress) -> None:
    """Open the address and wait as asked.

    Raises OperatorError where Chromium cannot parse the address, and Playwright's Error where
    the page is gone.
    """
    request = progress.request
    loading = asyncio.create_task(
        tab.page.goto(
            request.url, wait_until=request.wait_until, timeout=progress.remaining() * 1000
        )
    )
    # Nobody awaits it after a stop: its exception counts as retrieved.
    loading.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        await _wait_for_load(loading, tab, proxy)
        if tab.navigation.blocked.is_set():
            progress.final_url, reason = tab.navigation.refused[0]
            progress.fail("blocked", reason)
        elif loading.done():
            response = await loading
            progress.http_status = response.status if response is not None else None
    except PlaywrightTimeout:
        progress.time_out()
    except PlaywrightError as error:
        if "interrupted by another navigation" in error.message:
            await _wait_for_interrupting_navigation(tab, progress)
        else:
            _record_load_error(tab, proxy, progress, error)
    finally:
        loading.cancel()


async def _wait_for_load(
    loading: asyncio.Task[Response | None], tab: Tab, proxy: PageProxy
) -> None:
    """Wait for the page; at most STUCK seconds once it cannot finish, not at all if blocked.

    It cannot finish after its bytes were used up, nor after a canceled navigation: Chromium
    stops loading when a navigation begins, and `load` may never fire.
    """
    events = (tab.navigation.blocked, tab.navigation.canceled, proxy.over_limit)
    waiters = [asyncio.create_task(event.wait()) for event in events]
    either: set[asyncio.Future[Any]] = {loading, *waiters}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not loading.done() and not tab.navigation.blocked.is_set():
            await asyncio.wait({loading}, timeout=STUCK)
    finally:
        for waiter in waiters:
            waiter.cancel()


async def _wait_for_interrupting_navigation(tab: Tab, progress: VisitProgress) -> None:
    """Wait for the navigation with which the page replaced its first one: that is the page."""
    until = progress.request.wait_until
    try:
        await tab.page.wait_for_load_state(
            "domcontentloaded" if until == "commit" else until, timeout=progress.remaining() * 1000
        )
    except PlaywrightTimeout:
        progress.time_out()


def _record_load_error(
    tab: Tab, proxy: PageProxy, progress: VisitProgress, error: PlaywrightError
) -> None:
    if "invalid URL" in error.message:
        raise OperatorError.invalid("url", "is no address that Chromium can parse")
    net = _NET_ERROR.search(error.message)
    if "Download is starting" in error.message:
        progress.fail("error", "the address is a download, and downloads are refused")
    elif net is None:
        raise error
    else:
        progress.final_url = tab.navigation.last_url
        progress.fail(
            "error",
            proxy.failure_reason(tab.navigation.last_url) or f"Chromium says {net.group(1)}",
        )


async def check_script(tab: Tab, progress: VisitProgress) -> None:
    """Compile the caller's script alone, before anything is loaded.

    A script that is no expression could escape from the lines that measure its result.
    """
    source = scripts.as_expression(progress.request.script or "")
    await tab.session.send("Runtime.enable")
    answer = await tab.session.send(
        "Runtime.compileScript", {"expression": source, "sourceURL": "", "persistScript": False}
    )
    await tab.session.send("Runtime.disable")
    if "exceptionDetails" in answer:
        progress.script_error = scripts.exception_message(answer["exceptionDetails"])


async def run_script(tab: Tab, progress: VisitProgress) -> None:
    """Run the caller's script; its failure is put into ``error`` and leaves the status."""
    if progress.script_error is not None:
        progress.error = progress.script_error
        return
    parameters = {
        "expression": scripts.wrap(progress.request.script or ""),
        "awaitPromise": True,
        "returnByValue": True,
        "timeout": progress.remaining() * 1000,
    }
    try:
        async with asyncio.timeout(progress.remaining()):
            answer = await tab.session.send("Runtime.evaluate", parameters)
        if "exceptionDetails" in answer:
            progress.error = scripts.exception_message(answer["exceptionDetails"])
        else:
            progress.script_result = scripts.parse_result(answer["result"].get("value"))
    except TimeoutError:
        progress.error = "the script did not end in the page's time"
    except scripts.ScriptError as failure:
        progress.error = str(failure)
    except PlaywrightError as error:
        if _PROTOCOL_ERROR.search(error.message) is None:
            raise
        # Chromium ended it: the page navigated away, or its time was over.
        late = progress.remaining() < 0.05
        progress.error = (
            "the script did not end in the page's time"
            if late
            else "the script was cut off: the page went elsewhere"
        )


async def capture(
    tab: Tab, proxy: PageProxy, progress: VisitProgress, screenshot_bytes: int
) -> None:
    """Read the page and take its screenshot, for at most GRACE seconds past the page's time."""
    request = progress.request
    if tab.page.url in _NOT_COMMITTED:
        progress.final_url = tab.navigation.last_url
        return
    try:
        async with asyncio.timeout(max(progress.remaining(), GRACE)):
            progress.content = await _read_content(tab, request.text_limit)
            if not _record_location(tab, proxy, progress, progress.content):
                progress.content = None
                return
            screenshot = await take_screenshot(
                tab.session, request.window, request.full_page, screenshot_bytes
            )
            progress.screenshot = screenshot.png
            if screenshot.png is None:
                progress.note("the screenshot is too large")
            elif screenshot.cut is not None:
                progress.note(screenshot.cut)
    except TimeoutError:
        if progress.status == "ok":
            progress.time_out()


async def _read_content(tab: Tab, text_limit: int) -> scripts.PageContent:
    for last in (False,) * (_CAPTURE_ATTEMPTS - 1) + (True,):
        try:
            world = await tab.session.send(
                "Page.createIsolatedWorld",
                {"frameId": tab.navigation.main_frame, "worldName": "operator"},
            )
            answer = await tab.session.send(
                "Runtime.evaluate",
                {
                    "expression": scripts.content_script(text_limit),
                    "contextId": world["executionContextId"],
                    "returnByValue": True,
                },
            )
            return scripts.parse_content(answer["result"].get("value"), text_limit)
        except PlaywrightError as error:
            # A navigation in progress destroys the script's execution context.
            if last or "ontext" not in error.message:
                raise
            await asyncio.sleep(0.05)
    raise AssertionError("unreachable")


def _record_location(
    tab: Tab, proxy: PageProxy, progress: VisitProgress, content: scripts.PageContent
) -> bool:
    """Record the page's final address and status; False where it is an error page."""
    if content.url.startswith("chrome-error:"):
        progress.final_url = tab.navigation.last_url
        reason = proxy.failure_reason(tab.navigation.last_url) or "Chromium shows an error page"
        if progress.status != "error":
            progress.fail("error", f"the page went on to an address that failed: {reason}")
        return False
    progress.final_url = content.url
    progress.http_status = content.status or progress.http_status
    return True
