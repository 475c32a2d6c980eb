"""One visit to a page: a fresh context, the steps in it, and its removal."""

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
from operator_svc.browser_service.memory_watch import PageMemory
from operator_svc.browser_service.page_proxy import PageProxy
from operator_svc.browser_service.tab import Tab, open_tab
from operator_svc.protocol.navigate import NavigateRequest, Visit

log = structlog.get_logger(__name__)

MIB = 2**20


class PageLimits(NamedTuple):
    """Bytes that one page may transfer and hold in memory, and bytes of its screenshot."""

    transfer_bytes: int
    memory_bytes: int
    screenshot_bytes: int


class StopReason(enum.Enum):
    """Reasons to stop a visit before its end."""

    GONE = "the client went away"
    DRAINING = "the service is stopping"
    DIED = "Chromium died under the page"
    CRASHED = "the page crashed"
    MEMORY = "the page used too much memory"
    CLOSED = "the page closed itself"


class StoppedError(Exception):
    """The visit was stopped for ``reason``."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class PageVisit:
    """One visit to one page. Never cancel its ``run``; ``stop`` it instead.

    So opening and closing the context are never interrupted, and no context is leaked.
    """

    def __init__(self, request: NavigateRequest, limits: PageLimits) -> None:
        self._limits = limits
        self._stopped: asyncio.Future[StopReason] = asyncio.get_running_loop().create_future()
        self._progress = visit_steps.VisitProgress(request)
        self.transferred = 0
        """Bytes that the page transferred; set when ``run`` has ended."""

    def stop(self, reason: StopReason) -> None:
        """End the visit soon; its context is closed before ``run`` returns."""
        if not self._stopped.done():
            self._stopped.set_result(reason)

    async def run(self, chromium: Chromium, policy: EgressPolicy, memory: PageMemory) -> Visit:
        """Visit the page.

        Raises StoppedError (GONE, DRAINING, DIED); ChromiumGoneError where the page was not
        opened at all; OperatorError where its address is invalid.
        """
        self._progress.started = time.monotonic()
        transfer_bytes = self._limits.transfer_bytes
        async with TaskOwner("visit") as tasks, PageProxy(policy, transfer_bytes) as proxy:
            tab = await open_tab(chromium, proxy, self._progress.request.window, tasks)
            self._progress.start_clock()
            self._watch(tab, chromium, tasks)
            try:
                await self._take_steps(tab, proxy, chromium, memory)
                return self._progress.result(tab.console(proxy))
            finally:
                self.transferred = proxy.transferred
                await tab.aclose()

    def _watch(self, tab: Tab, chromium: Chromium, tasks: TaskOwner) -> None:
        async def stop_at_death() -> None:
            await chromium.died.wait()
            self.stop(StopReason.DIED)

        tasks.start(stop_at_death(), "death")
        tab.page.on("crash", lambda _: self.stop(StopReason.CRASHED))
        tab.page.on("close", lambda _: self.stop(StopReason.CLOSED))

    async def _take_steps(
        self, tab: Tab, proxy: PageProxy, chromium: Chromium, memory: PageMemory
    ) -> None:
        progress = self._progress
        has_script = progress.request.script is not None
        try:
            if has_script:
                await self._unless_stopped(visit_steps.check_script(tab, progress), chromium)
            await self._unless_stopped(visit_steps.load(tab, proxy, progress), chromium)
            if progress.status == "ok" and has_script:
                await self._unless_stopped(visit_steps.run_script(tab, progress), chromium)
            if progress.status in ("ok", "timeout") or proxy.over_limit.is_set():
                step = visit_steps.capture(tab, proxy, progress, self._limits.screenshot_bytes)
                await self._unless_stopped(step, chromium)
        except StoppedError as stopped:
            message = self._page_error(stopped.reason, memory)
            if message is None:
                raise
            progress.fail("error", message)
        if proxy.over_limit.is_set():
            limit = self._limits.transfer_bytes
            progress.fail("error", f"the page loads more than {limit} bytes")

    def _page_error(self, reason: StopReason, memory: PageMemory) -> str | None:
        """The ``error`` of a page that was stopped by its own doing; None for other reasons."""
        if reason is StopReason.MEMORY:
            limit = self._limits.memory_bytes
            return f"the page used more than {limit // MIB} MiB of memory and was ended"
        if reason is StopReason.CRASHED:
            return f"the page crashed; it used {memory.peak // MIB} MiB of memory"
        return reason.value if reason is StopReason.CLOSED else None

    async def _unless_stopped(self, step: Coroutine[Any, Any, None], chromium: Chromium) -> None:
        """Run ``step`` to its end; raises StoppedError where the visit is stopped first."""
        task = asyncio.create_task(step)
        either: set[asyncio.Future[Any]] = {task, self._stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._stopped.done():
            try:
                return await task
            except PlaywrightError as error:
                # The steps handle a page's own errors: the page itself, or Chromium, is gone.
                log.info("page closed unexpectedly", reason=error.message[:200])
                self.stop(StopReason.CLOSED)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        reason = self._stopped.result()
        if reason is StopReason.CLOSED and not await chromium.is_responsive():
            reason = StopReason.DIED
        raise StoppedError(reason)
