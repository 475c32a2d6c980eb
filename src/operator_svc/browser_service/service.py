"""The browser service without its HTTP: admission, Chromium, and the visits in progress."""

from __future__ import annotations

import asyncio
import time

import structlog

from operator_svc.background import TaskOwner
from operator_svc.browser_service import local_addresses
from operator_svc.browser_service.addresses import AllowList, parse_networks
from operator_svc.browser_service.admission_queue import AdmissionQueue
from operator_svc.browser_service.chromium_pool import ChromiumPool
from operator_svc.browser_service.egress_policy import EgressPolicy, Resolver, SystemResolver
from operator_svc.browser_service.memory_watch import MemoryWatch
from operator_svc.browser_service.metrics import Metrics
from operator_svc.browser_service.page_proxy import DEFAULT_PORTS
from operator_svc.browser_service.tab import ChromiumGoneError
from operator_svc.browser_service.visit import PageLimits, PageVisit, StoppedError, StopReason
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.navigate import NavigateRequest, Visit
from operator_svc.settings import BrowserSettings

log = structlog.get_logger(__name__)

DRAIN_TIMEOUT = 3.0
"""Seconds for closing pages before Chromium is ended."""
OPEN_ATTEMPTS = 3
"""Chromiums that may turn out dead before a page fails that none has opened."""


class BrowserService:
    """Visits pages, a bounded number at once. The owner calls ``start``, and ``aclose`` at the end.

    ``resolver`` and ``flags`` (added to Chromium's) are for tests.
    """

    def __init__(
        self,
        settings: BrowserSettings,
        *,
        resolver: Resolver | None = None,
        flags: tuple[str, ...] = (),
    ) -> None:
        self._system_resolver = SystemResolver()
        self._policy = EgressPolicy(
            resolver or self._system_resolver,
            AllowList.parse(settings.allow),
            parse_networks(settings.deny, "BROWSER_DENY"),
        )
        self._limits = PageLimits(
            settings.page_bytes, settings.page_memory, settings.screenshot_bytes
        )
        self.metrics = Metrics()
        self.pool = ChromiumPool(settings, self.metrics, flags)
        self._memory = MemoryWatch(settings.page_memory)
        self.queue = AdmissionQueue(settings.pages, settings.queue)
        self._tasks = TaskOwner("browser")
        self._visits: set[PageVisit] = set()
        self._running: set[asyncio.Task[Visit | OperatorError]] = set()
        self._draining = False
        self.metrics.pages_open.set_function(lambda: self.queue.in_use)
        self.metrics.queue_length.set_function(lambda: self.queue.waiting)

    async def start(self) -> None:
        """Start Chromium; raises ConfigurationError where that fails."""
        local_addresses.require_detection()
        await self.pool.start()
        self._tasks.start(self._memory.run(), "memory")

    async def visit(self, request: NavigateRequest) -> Visit:
        """Open the page when it is admitted; cancelling stops the visit.

        Raises OperatorError: rate_limited, browser_unavailable, draining, or
        validation_error where Chromium cannot parse the address.
        """
        if self._draining:
            raise _draining()
        if request.scheme not in DEFAULT_PORTS:
            self.metrics.pages.labels("blocked").inc()
            return _refuse_scheme(request)
        queued = time.monotonic()
        try:
            await self.queue.acquire()
        except OperatorError as error:
            if error.code is ErrorCode.RATE_LIMITED:
                self.metrics.queue_full.inc()
            raise
        visit = PageVisit(request, self._limits)
        admitted = time.monotonic()
        self.metrics.queue_seconds.observe(admitted - queued)
        self._visits.add(visit)
        task = self._tasks.start(self._run(visit, admitted), "visit")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            visit.stop(StopReason.GONE)  # its task ends when the context is closed
            raise
        if isinstance(answer, OperatorError):
            raise answer
        return answer

    async def _run(self, visit: PageVisit, admitted: float) -> Visit | OperatorError:
        """Visit the page and release its permit; errors are returned: the caller may be gone."""
        status = "unavailable"
        try:
            result = await self._open(visit)
            status = result.status
            return result
        except StoppedError as stopped:
            status = stopped.reason.name.lower()
            if stopped.reason is StopReason.DRAINING:
                return _draining()
            return OperatorError(
                ErrorCode.BROWSER_UNAVAILABLE,
                f"{stopped.reason.value}: try again",
                retry_after=1,
                extra={"cause": status},
            )
        except OperatorError as error:
            status = "invalid" if error.code is ErrorCode.VALIDATION_ERROR else status
            return error
        finally:
            seconds = time.monotonic() - admitted
            self._visits.discard(visit)
            self.queue.release(seconds)
            self.metrics.pages.labels(status).inc()
            self.metrics.page_seconds.observe(seconds)
            self.metrics.transferred.inc(visit.transferred)

    async def _open(self, visit: PageVisit) -> Visit:
        """Visit the page; with another Chromium where one turns out dead before it is opened."""

        def exceeded() -> None:
            self.metrics.memory_exceeded.inc()
            visit.stop(StopReason.MEMORY)

        with self.pool.lease() as supervisor:
            for _ in range(OPEN_ATTEMPTS):
                chromium = await supervisor.chromium()
                try:
                    with self._memory.page(chromium, exceeded) as memory:
                        return await visit.run(chromium, self._policy, memory)
                except ChromiumGoneError:
                    continue
        raise OperatorError(ErrorCode.BROWSER_UNAVAILABLE, "Chromium opens no page", retry_after=5)

    async def aclose(self) -> None:
        """Stop all visits, reject the queue, and end Chromium."""
        self._draining = True
        self.queue.reject_all(_draining())
        for visit in self._visits:
            visit.stop(StopReason.DRAINING)
        if self._running:
            await asyncio.wait(self._running, timeout=DRAIN_TIMEOUT)
        # Visits that still hang end at once without a Chromium.
        await self.pool.aclose()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._tasks.aclose()
        self._system_resolver.close()


def _refuse_scheme(request: NavigateRequest) -> Visit:
    error = f"{request.scheme}: addresses are not opened"
    return Visit(
        status="blocked", url=request.url, final_url=request.url, error=error, duration_ms=0
    )


def _draining() -> OperatorError:
    return OperatorError(ErrorCode.DRAINING, "the browser service is stopping", retry_after=1)
