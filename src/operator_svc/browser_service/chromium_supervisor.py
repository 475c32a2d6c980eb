"""Supervision of Chromium: start it, and restart it when it dies."""

from __future__ import annotations

import asyncio

import structlog

from operator_svc.background import TaskOwner
from operator_svc.browser_service.chromium import Chromium
from operator_svc.browser_service.metrics import Metrics
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.settings import BrowserSettings

log = structlog.get_logger(__name__)

START_WAIT = 30.0
"""Seconds that a page waits for a Chromium that is being started."""
RETRY_DELAYS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each further start; the last value repeats."""


class ChromiumSupervisor:
    """Owner of one Chromium, which starts with ``start`` or when it is first needed.

    ``flags`` are added to its command line.
    """

    def __init__(
        self, settings: BrowserSettings, metrics: Metrics, flags: tuple[str, ...] = ()
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._flags = flags
        self._tasks = TaskOwner("chromium")
        self._current: Chromium | None = None
        self._ready = asyncio.Event()
        self._supervised = False
        self._closed = False

    @property
    def current(self) -> Chromium | None:
        """The Chromium that runs now, if any."""
        return self._current

    async def start(self) -> None:
        """Start Chromium; raises ConfigurationError where there is none or it fails to start."""
        await self._launch()
        self._start_supervision()

    async def chromium(self) -> Chromium:
        """Return a running Chromium; waits while it is being restarted.

        Raises OperatorError: browser_unavailable where none starts, draining after aclose.
        """
        while not self._closed:
            current = self._current
            if current is not None and not current.died.is_set():
                return current
            self._ready.clear()
            self._start_supervision()
            try:
                async with asyncio.timeout(START_WAIT):
                    await self._ready.wait()
            except TimeoutError:
                raise OperatorError(
                    ErrorCode.BROWSER_UNAVAILABLE, "Chromium does not start", retry_after=10
                ) from None
        raise OperatorError(ErrorCode.DRAINING, "the browser service is stopping")

    async def aclose(self) -> None:
        """End Chromium without a successor."""
        self._closed = True
        self._ready.set()
        await self._tasks.aclose()
        current, self._current = self._current, None
        if current is not None:
            await current.aclose()

    def _start_supervision(self) -> None:
        if not self._supervised:
            self._supervised = True
            self._tasks.start(self._supervise(), "supervise")

    async def _launch(self) -> None:
        self._current = await Chromium.start(self._settings, self._flags)
        self._metrics.starts.inc()
        self._ready.set()
        log.info("chromium started", version=self._current.version, group=self._current.group)

    async def _supervise(self) -> None:
        while True:
            current = self._current
            if current is not None:
                await current.died.wait()
                if not current.discarded:
                    log.warning("chromium died", group=current.group)
                    self._metrics.deaths.inc()
                self._current = None
                await current.aclose()
            await self._relaunch()

    async def _relaunch(self) -> None:
        failures = 0
        while self._current is None:
            await asyncio.sleep(RETRY_DELAYS[min(failures, len(RETRY_DELAYS) - 1)])
            try:
                await self._launch()
            except ConfigurationError as error:
                failures += 1
                log.error("chromium restart failed", problem=str(error))
