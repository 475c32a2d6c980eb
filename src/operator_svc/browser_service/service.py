"""The browser service without its HTTP: slots, Chromium, and the visits under way."""

from __future__ import annotations

import asyncio
import time

import structlog

from operator_svc.background import TaskOwner
from operator_svc.browser_service.addresses import AllowList
from operator_svc.browser_service.admission_queue import AdmissionQueue
from operator_svc.browser_service.chromium_supervisor import ChromiumSupervisor
from operator_svc.browser_service.egress_policy import EgressPolicy, Resolver, SystemResolver
from operator_svc.browser_service.metrics import Metrics
from operator_svc.browser_service.page_proxy import PORTS
from operator_svc.browser_service.tab import ChromiumGoneError
from operator_svc.browser_service.visit import Cause, Limits, StoppedError, Visitor
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.navigate import NavigateRequest, Visit
from operator_svc.settings import BrowserSettings

log = structlog.get_logger(__name__)

DRAIN = 3.0
"""Seconds that pages have to be closed before Chromium is ended under them."""
TRIES = 3
"""How many Chromiums may turn out dead before a page is given up that none has opened."""


class BrowserService:
    """Visits pages, a few at a time. ``start`` it, and ``aclose`` it in the end.

    ``resolver`` and ``flags`` (more of Chromium's) are for tests.
    """

    def __init__(
        self,
        settings: BrowserSettings,
        *,
        resolver: Resolver | None = None,
        flags: tuple[str, ...] = (),
    ) -> None:
        self._system = SystemResolver() if resolver is None else None
        allow = AllowList.parse(settings.allow)
        self._gate = EgressPolicy(allow, resolver or self._system or SystemResolver())
        self._limits = Limits(settings.page_bytes, settings.screenshot_bytes)
        self.metrics = Metrics()
        self.keeper = ChromiumSupervisor(settings, self.metrics, flags)
        self.slots = AdmissionQueue(settings.pages, settings.queue)
        self._tasks = TaskOwner("browser")
        self._visitors: set[Visitor] = set()
        self._running: set[asyncio.Task[Visit | OperatorError]] = set()
        self._draining = False
        self.metrics.pages_open.set_function(lambda: self.slots.taken)
        self.metrics.queue_length.set_function(lambda: self.slots.waiting)

    async def start(self) -> None:
        """Start Chromium; raises ConfigurationError where that can't be."""
        await self.keeper.start()

    async def visit(self, request: NavigateRequest) -> Visit:
        """Open the page when its turn comes; cancelling stops it.

        Raises OperatorError: rate_limited, browser_unavailable, draining, or
        validation_error where Chromium does not understand the address.
        """
        if self._draining:
            raise _draining()
        if request.scheme not in PORTS:
            self.metrics.pages.labels("blocked").inc()
            return _not_web(request)
        queued = time.monotonic()
        try:
            await self.slots.take()
        except OperatorError as error:
            if error.code is ErrorCode.RATE_LIMITED:
                self.metrics.full.inc()
            raise
        visitor = Visitor(request, self._limits)
        began = time.monotonic()
        self.metrics.wait.observe(began - queued)
        self._visitors.add(visitor)
        task = self._tasks.start(self._run(visitor, began), "visit")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            visitor.stop(Cause.GONE)  # its task goes on until the context is closed
            raise
        if isinstance(answer, OperatorError):
            raise answer
        return answer

    async def _run(self, visitor: Visitor, began: float) -> Visit | OperatorError:
        """The visit with its slot; errors are returned, for whoever asked may be gone."""
        status = "unavailable"
        try:
            visit = await self._open(visitor)
            status = visit.status
            return visit
        except StoppedError as stopped:
            status = stopped.cause.name.lower()
            if stopped.cause is Cause.DRAINING:
                return _draining()
            return OperatorError(
                ErrorCode.BROWSER_UNAVAILABLE,
                f"{stopped.cause.value}: try again",
                retry_after=1,
                extra={"cause": status},
            )
        except OperatorError as error:
            status = "invalid" if error.code is ErrorCode.VALIDATION_ERROR else status
            return error
        finally:
            seconds = time.monotonic() - began
            self._visitors.discard(visitor)
            self.slots.release(seconds)
            self.metrics.pages.labels(status).inc()
            self.metrics.seconds.observe(seconds)
            self.metrics.transferred.inc(visitor.transferred)

    async def _open(self, visitor: Visitor) -> Visit:
        """Visit the page; in another Chromium where the first one turns out dead before it."""
        for _ in range(TRIES):
            try:
                return await visitor.run(await self.keeper.chromium(), self._gate)
            except ChromiumGoneError:
                continue
        raise OperatorError(ErrorCode.BROWSER_UNAVAILABLE, "Chromium opens no page", retry_after=5)

    async def aclose(self) -> None:
        """Stop all visits, answer those who wait, and end Chromium."""
        self._draining = True
        self.slots.refuse_all(_draining())
        for visitor in self._visitors:
            visitor.stop(Cause.DRAINING)
        if self._running:
            await asyncio.wait(self._running, timeout=DRAIN)
        # Without a Chromium, what still hangs on it ends at once.
        await self.keeper.aclose()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._tasks.aclose()
        if self._system is not None:
            self._system.close()


def _not_web(request: NavigateRequest) -> Visit:
    error = f"{request.scheme}: addresses are not opened"
    return Visit(
        status="blocked", url=request.url, final_url=request.url, error=error, duration_ms=0
    )


def _draining() -> OperatorError:
    return OperatorError(ErrorCode.DRAINING, "the browser service is about to stop", retry_after=1)
