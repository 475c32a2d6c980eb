"""Keeps one Chromium running: starts it, notices its end, and starts another."""

from __future__ import annotations

import asyncio

import structlog

from operator_svc.background import TaskOwner
from operator_svc.browser_service.chromium import Chromium
from operator_svc.browser_service.metrics import Metrics
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.settings import BrowserSettings

log = structlog.get_logger(__name__)

PATIENCE = 30.0
"""Seconds that a page waits for a Chromium that is being started."""
RETRY_DELAYS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between starts that fail; the last one stays."""


class ChromiumSupervisor:
    """Owner of the one Chromium; ``flags`` are added to its command line."""

    def __init__(
        self, settings: BrowserSettings, metrics: Metrics, flags: tuple[str, ...] = ()
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._flags = flags
        self._tasks = TaskOwner("keeper")
        self._current: Chromium | None = None
        self._ready = asyncio.Event()
        self._closed = False

    @property
    def current(self) -> Chromium | None:
        """The Chromium that runs now."""
        return self._current

    async def start(self) -> None:
        """Start Chromium; raises ConfigurationError where there is none or it does not start."""
        await self._launch()
        self._tasks.start(self._keep(), "keep")

    async def chromium(self) -> Chromium:
        """A running Chromium, after a short wait where it is just being started anew.

        Raises OperatorError: browser_unavailable where none comes up, draining after aclose.
        """
        while not self._closed:
            current = self._current
            if current is not None and not current.died.is_set():
                return current
            self._ready.clear()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._ready.wait()
            except TimeoutError:
                raise OperatorError(
                    ErrorCode.BROWSER_UNAVAILABLE, "Chromium does not start", retry_after=10
                ) from None
        raise OperatorError(ErrorCode.DRAINING, "the browser service is about to stop")

    async def aclose(self) -> None:
        """End Chromium, and start no other."""
        self._closed = True
        self._ready.set()
        await self._tasks.aclose()
        current, self._current = self._current, None
        if current is not None:
            await current.aclose()

    async def _launch(self) -> None:
        self._current = await Chromium.start(self._settings, self._flags)
        self._metrics.starts.inc()
        self._ready.set()
        log.info("chromium started", version=self._current.version, pid=self._current.pid)

    async def _keep(self) -> None:
        while True:
            current = self._current
            if current is not None:
                await current.died.wait()
                log.warning("chromium died", pid=current.pid)
                self._metrics.deaths.inc()
                self._current = None
                await current.aclose()
            await self._launch_again()

    async def _launch_again(self) -> None:
        failures = 0
        while self._current is None:
            await asyncio.sleep(RETRY_DELAYS[min(failures, len(RETRY_DELAYS) - 1)])
            try:
                await self._launch()
            except ConfigurationError as error:
                failures += 1
                log.error("chromium does not start again", problem=str(error))
