"""A Chromium for each page that is open at once.

No two pages share a browser process, so whatever one of them does to it (memory, storage, a
crash) hits that page alone, and its processes are those of the page.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from operator_svc.browser_service.chromium import Chromium
from operator_svc.browser_service.chromium_supervisor import ChromiumSupervisor
from operator_svc.browser_service.metrics import Metrics
from operator_svc.settings import BrowserSettings


class ChromiumPool:
    """``settings.pages`` Chromiums; the first starts with the service, the others when needed.

    ``flags`` are added to their command lines.
    """

    def __init__(
        self, settings: BrowserSettings, metrics: Metrics, flags: tuple[str, ...] = ()
    ) -> None:
        self._supervisors = [
            ChromiumSupervisor(settings, metrics, flags) for _ in range(settings.pages)
        ]
        self._idle = deque(self._supervisors)

    @property
    def running(self) -> list[Chromium]:
        """The Chromiums that run now."""
        current = (supervisor.current for supervisor in self._supervisors)
        return [c for c in current if c is not None and not c.died.is_set()]

    async def start(self) -> None:
        """Start the first Chromium; raises ConfigurationError where that fails."""
        await self._supervisors[0].start()

    @contextmanager
    def lease(self) -> Iterator[ChromiumSupervisor]:
        """Take a Chromium for one page, preferably one that runs already.

        There is one for each permit of the admission queue.
        """
        supervisor = self._idle.popleft()
        try:
            yield supervisor
        finally:
            is_running = supervisor.current in self.running
            (self._idle.appendleft if is_running else self._idle.append)(supervisor)

    async def aclose(self) -> None:
        """End all Chromiums."""
        await asyncio.gather(*(supervisor.aclose() for supervisor in self._supervisors))
