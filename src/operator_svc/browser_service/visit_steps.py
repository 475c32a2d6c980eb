"""The three steps of a visit: load the page, run the caller's script, look at what is there."""

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
"""Seconds for looking at a page whose own time is over."""
STUCK = 0.5
"""Seconds that a page has to be done loading when nothing more will come."""
_LOOKS = 5

_NET_ERROR = re.compile(r"net::(ERR_[A-Z0-9_]+)")
_PROTOCOL_ERROR = re.compile(r"Protocol error \(Runtime\.evaluate\)")
_NOT_COMMITTED = ("", "about:blank")


@dataclass
class Outcome:
    """What is known of a visit so far."""

    request: NavigateRequest
    began: float = field(default_factory=time.monotonic)
    deadline: float = math.inf
    status: PageStatus = "ok"
    error: str | None = None
    final_url: str = ""
    http_status: int | None = None
    script_fault: str | None = None
    script_result: Any = None
    seen: scripts.Look | None = None
    screenshot: bytes | None = None

    def start_clock(self) -> None:
        """The page's time begins: it is not for the opening of Chromium's window."""
        self.deadline = time.monotonic() + self.request.timeout_ms / 1000

    def left(self) -> float:
        """Seconds that are left of the page's time, never quite none."""
        return max(self.deadline - time.monotonic(), 0.001)

    def fail(self, status: PageStatus, error: str) -> None:
        """The page can not be shown as it was asked for."""
        self.status, self.error = status, error

    def out_of_time(self) -> None:
        """The page took longer than it may."""
        self.fail("timeout", f"the page was not ready within {self.request.timeout_ms} ms")

    def visit(self, console: list[str]) -> Visit:
        """The answer."""
        seen = self.seen
        return Visit(
            status=self.status,
            url=self.request.url,
            final_url=self.final_url or self.request.url,
            http_status=self.http_status,
            title=seen.title if seen else "",
            text=seen.text if seen else "",
            links=[Link(*link) for link in seen.links] if seen else [],
            screenshot=self.screenshot,
            script_result=self.script_result,
            console=console,
            error=self.error,
            duration_ms=round((time.monotonic() - self.began) * 1000),
        )


async def load(tab: Tab, lane: PageProxy, outcome: Outcome) -> None:
    """Open the address and wait as asked.

    Raises OperatorError where Chromium understands no address, and playwright's Error where
    the page went away meanwhile.
    """
    request = outcome.request
    going = asyncio.create_task(
        tab.page.goto(request.url, wait_until=request.wait_until, timeout=outcome.left() * 1000)
    )
    # Where nobody waits for its end any more, that it fails is no news.
    going.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        await _done_or_stuck(going, tab, lane)
        if tab.guard.blocked.is_set():
            outcome.final_url, reason = tab.guard.refused[0]
            outcome.fail("blocked", reason)
        elif going.done():
            response = await going
            outcome.http_status = response.status if response is not None else None
    except PlaywrightTimeout:
        outcome.out_of_time()
    except PlaywrightError as error:
        if "interrupted by another navigation" in error.message:
            await _wait_for_the_other(tab, outcome)
        else:
            _not_loaded(tab, lane, outcome, error)
    finally:
        going.cancel()


async def _done_or_stuck(going: asyncio.Task[Response | None], tab: Tab, lane: PageProxy) -> None:
    """Wait for the page, but not long for one that will not be done, and not for a blocked one.

    That is one that was cut off for its weight; or one that was about to leave and was kept:
    Chromium ends its loading when it sets off, and no `load` comes any more.
    """
    events = (tab.guard.blocked, tab.guard.stayed, lane.overweight)
    ends = [asyncio.create_task(event.wait()) for event in events]
    either: set[asyncio.Future[Any]] = {going, *ends}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not going.done() and not tab.guard.blocked.is_set():
            await asyncio.wait({going}, timeout=STUCK)
    finally:
        for end in ends:
            end.cancel()


async def _wait_for_the_other(tab: Tab, outcome: Outcome) -> None:
    """The page sent itself elsewhere before it was there: what comes then is the page."""
    until = outcome.request.wait_until
    try:
        await tab.page.wait_for_load_state(
            "domcontentloaded" if until == "commit" else until, timeout=outcome.left() * 1000
        )
    except PlaywrightTimeout:
        outcome.out_of_time()


def _not_loaded(tab: Tab, lane: PageProxy, outcome: Outcome, error: PlaywrightError) -> None:
    if "invalid URL" in error.message:
        raise OperatorError.invalid("url", "is no address that Chromium understands")
    net = _NET_ERROR.search(error.message)
    if "Download is starting" in error.message:
        outcome.fail("error", "the address is a download, and downloads are refused")
    elif net is None:
        raise error
    else:
        outcome.final_url = tab.guard.last_url
        outcome.fail("error", lane.why(tab.guard.last_url) or f"Chromium says {net.group(1)}")


async def check_script(tab: Tab, outcome: Outcome) -> None:
    """See whether the caller's script is an expression, before anything is loaded.

    One that isn't could otherwise step out of the lines that measure its result.
    """
    source = scripts.check(outcome.request.script or "")
    await tab.session.send("Runtime.enable")
    answer = await tab.session.send(
        "Runtime.compileScript", {"expression": source, "sourceURL": "", "persistScript": False}
    )
    await tab.session.send("Runtime.disable")
    if "exceptionDetails" in answer:
        outcome.script_fault = scripts.fault(answer["exceptionDetails"])


async def run_script(tab: Tab, outcome: Outcome) -> None:
    """Run the caller's script; its failure is told in ``error`` and leaves the status."""
    if outcome.script_fault is not None:
        outcome.error = outcome.script_fault
        return
    what = {
        "expression": scripts.run(outcome.request.script or ""),
        "awaitPromise": True,
        "returnByValue": True,
        "timeout": outcome.left() * 1000,
    }
    try:
        async with asyncio.timeout(outcome.left()):
            answer = await tab.session.send("Runtime.evaluate", what)
        if "exceptionDetails" in answer:
            outcome.error = scripts.fault(answer["exceptionDetails"])
        else:
            outcome.script_result = scripts.read_result(answer["result"].get("value"))
    except TimeoutError:
        outcome.error = "the script did not end in the page's time"
    except scripts.ScriptError as failure:
        outcome.error = str(failure)
    except PlaywrightError as error:
        if _PROTOCOL_ERROR.search(error.message) is None:
            raise
        # Chromium took it off: the page was left under it, or its time was over.
        late = outcome.left() < 0.05
        outcome.error = (
            "the script did not end in the page's time"
            if late
            else "the script was cut off: the page went elsewhere"
        )


async def look(tab: Tab, lane: PageProxy, outcome: Outcome, screenshot_bytes: int) -> None:
    """Read the page and take its picture; past the page's time only for GRACE seconds."""
    request = outcome.request
    if tab.page.url in _NOT_COMMITTED:
        outcome.final_url = tab.guard.last_url
        return
    try:
        async with asyncio.timeout(max(outcome.left(), GRACE)):
            outcome.seen = await _read(tab, request.text_limit)
            if not _understood(tab, lane, outcome, outcome.seen):
                outcome.seen = None
                return
            outcome.screenshot = await take_screenshot(
                tab.session, request.window, request.full_page, screenshot_bytes
            )
            if outcome.screenshot is None and outcome.error is None:
                outcome.error = "the screenshot is too large"
    except TimeoutError:
        if outcome.status == "ok":
            outcome.out_of_time()


async def _read(tab: Tab, text_limit: int) -> scripts.Look:
    for last in (False,) * (_LOOKS - 1) + (True,):
        try:
            world = await tab.session.send(
                "Page.createIsolatedWorld",
                {"frameId": tab.guard.main_frame, "worldName": "operator"},
            )
            answer = await tab.session.send(
                "Runtime.evaluate",
                {
                    "expression": scripts.look(text_limit),
                    "contextId": world["executionContextId"],
                    "returnByValue": True,
                },
            )
            return scripts.read_look(answer["result"].get("value"), text_limit)
        except PlaywrightError as error:
            # A page that goes elsewhere just now takes the world away from under the script.
            if last or "ontext" not in error.message:
                raise
            await asyncio.sleep(0.05)
    raise AssertionError("unreachable")


def _understood(tab: Tab, lane: PageProxy, outcome: Outcome, seen: scripts.Look) -> bool:
    """Take over where the page is; False where there is no page to be seen."""
    if seen.url.startswith("chrome-error:"):
        outcome.final_url = tab.guard.last_url
        why = lane.why(tab.guard.last_url) or "Chromium shows an error page"
        if outcome.status != "error":
            outcome.fail("error", f"the page went on to an address that failed: {why}")
        return False
    outcome.final_url = seen.url
    outcome.http_status = seen.status or outcome.http_status
    return True
