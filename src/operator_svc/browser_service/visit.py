"""One visit to a page: a fresh context, the steps, and nothing left behind."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Coroutine
from typing import Any, NamedTuple

import structlog
from playwright.async_api import Error as PlaywrightError

from operator_svc.background import TaskOwner
from operator_svc.browser_service import visit_steps
from operator_svc.browser_service.chromium import Chromium
from operator_svc.browser_service.egress_policy import EgressPolicy
from operator_svc.browser_service.page_proxy import PageProxy
from operator_svc.browser_service.tab import Tab, open_tab
from operator_svc.protocol.navigate import NavigateRequest, Visit

log = structlog.get_logger(__name__)


class Limits(NamedTuple):
    """What one page may load, and how large its picture may be, in bytes."""

    page_bytes: int
    screenshot_bytes: int


class Cause(enum.Enum):
    """Why a visit was stopped before its end."""

    GONE = "the client went away"
    DRAINING = "the service is about to stop"
    DIED = "Chromium died under the page"
    CRASHED = "the page crashed"
    CLOSED = "the page closed itself"


class StoppedError(Exception):
    """The visit was stopped; ``cause`` says why."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


class Visitor:
    """One visit to one page. Never cancel its ``run``: ``stop`` it.

    So opening and closing the context are never cut in the middle, and none is forgotten.
    """

    def __init__(self, request: NavigateRequest, limits: Limits) -> None:
        self._limits = limits
        self._stopped: asyncio.Future[Cause] = asyncio.get_running_loop().create_future()
        self._outcome = visit_steps.Outcome(request)
        self.transferred = 0
        """Bytes that the page moved, known when ``run`` has ended."""

    def stop(self, cause: Cause) -> None:
        """End the visit soon; its context is closed before ``run`` ends."""
        if not self._stopped.done():
            self._stopped.set_result(cause)

    async def run(self, chromium: Chromium, gate: EgressPolicy) -> Visit:
        """Visit the page.

        Raises StoppedError (GONE, DRAINING, DIED); ChromiumGoneError where the page was not
        opened at all; OperatorError where its address is none.
        """
        self._outcome.began = time.monotonic()
        async with TaskOwner("visit") as tasks, PageProxy(gate, self._limits.page_bytes) as lane:
            tab = await open_tab(chromium, lane, self._outcome.request.window, tasks)
            self._outcome.start_clock()
            self._watch(tab, chromium, tasks)
            try:
                await self._visit(tab, lane, chromium)
                return self._outcome.visit(tab.console(lane))
            finally:
                self.transferred = lane.transferred
                await tab.aclose()

    def _watch(self, tab: Tab, chromium: Chromium, tasks: TaskOwner) -> None:
        async def death() -> None:
            await chromium.died.wait()
            self.stop(Cause.DIED)

        tasks.start(death(), "death")
        tab.page.on("crash", lambda _: self.stop(Cause.CRASHED))
        tab.page.on("close", lambda _: self.stop(Cause.CLOSED))

    async def _visit(self, tab: Tab, lane: PageProxy, chromium: Chromium) -> None:
        outcome = self._outcome
        has_script = outcome.request.script is not None
        try:
            if has_script:
                await self._unless_stopped(visit_steps.check_script(tab, outcome), chromium)
            await self._unless_stopped(visit_steps.load(tab, lane, outcome), chromium)
            if outcome.status == "ok" and has_script:
                await self._unless_stopped(visit_steps.run_script(tab, outcome), chromium)
            if outcome.status in ("ok", "timeout") or lane.overweight.is_set():
                work = visit_steps.look(tab, lane, outcome, self._limits.screenshot_bytes)
                await self._unless_stopped(work, chromium)
        except StoppedError as stopped:
            if stopped.cause not in (Cause.CRASHED, Cause.CLOSED):
                raise
            outcome.fail("error", str(stopped))
        if lane.overweight.is_set():
            outcome.fail("error", f"the page loads more than {self._limits.page_bytes} bytes")

    async def _unless_stopped(self, work: Coroutine[Any, Any, None], chromium: Chromium) -> None:
        """Run ``work`` until it ends, or the visit is stopped: then raise StoppedError."""
        task = asyncio.create_task(work)
        either: set[asyncio.Future[Any]] = {task, self._stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._stopped.done():
            try:
                return await task
            except PlaywrightError as error:
                # The steps know the errors of pages: the page itself, or Chromium, is gone.
                log.info("the page is gone", reason=error.message[:200])
                self.stop(Cause.CLOSED)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        cause = self._stopped.result()
        if cause is Cause.CLOSED and not await chromium.answers():
            cause = Cause.DIED
        raise StoppedError(cause)
