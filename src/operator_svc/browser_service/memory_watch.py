"""The memory budget of pages: a page that exceeds it is ended, and no other page is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from operator_svc.browser_service import process_memory
from operator_svc.browser_service.chromium import Chromium

log = structlog.get_logger(__name__)

INTERVAL = 0.1
"""Seconds between two looks. Between them the kernel's limit of each process holds."""


class PageMemory:
    """Memory of one page: of its Chromium and the driver, which have no other page then."""

    def __init__(self, chromium: Chromium, on_exceeded: Callable[[], None]) -> None:
        self.chromium = chromium
        self.on_exceeded = on_exceeded
        self.peak = 0
        """The most bytes that were seen."""


class MemoryWatch:
    """Compares the memory of all open pages with ``budget`` bytes, again and again."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._pages: set[PageMemory] = set()
        self._opened = asyncio.Event()

    @contextmanager
    def page(self, chromium: Chromium, on_exceeded: Callable[[], None]) -> Iterator[PageMemory]:
        """Watch the page that ``chromium`` opens within; ``on_exceeded`` is called once."""
        page = PageMemory(chromium, on_exceeded)
        self._pages.add(page)
        self._opened.set()
        try:
            yield page
        finally:
            self._pages.discard(page)
            # Memory that was freed may stay with the process: the next page gets its own budget.
            if page.peak > self.budget // 2 and not chromium.died.is_set():
                log.info("chromium replaced after a large page", bytes=page.peak)
                chromium.discard()

    async def run(self) -> None:
        """Watch until cancelled; nothing is read while no page is open."""
        while True:
            await self._opened.wait()
            self._look()
            await asyncio.sleep(INTERVAL)
            if not self._pages:
                self._opened.clear()

    def _look(self) -> None:
        members = process_memory.group_members(page.chromium.group for page in self._pages)
        for page in list(self._pages):
            chromium = page.chromium
            processes = members[chromium.group]
            # Again: one that was being forked when its parent was limited is not.
            chromium.limit_data(processes, self.budget)
            used = process_memory.memory_of([chromium.driver_pid, *processes])
            page.peak = max(page.peak, used)
            if used > self.budget:
                log.warning("page exceeded its memory", bytes=used, budget=self.budget)
                self._pages.discard(page)
                page.on_exceeded()
                chromium.discard()
