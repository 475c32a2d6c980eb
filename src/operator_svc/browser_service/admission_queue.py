"""A bounded number of pages at once, and a bounded queue, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque

from operator_svc.errors import ErrorCode, OperatorError


class AdmissionQueue:
    """``pages`` slots and ``queue`` places to wait for one."""

    def __init__(self, pages: int, queue: int) -> None:
        self._free = pages
        self._pages = pages
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._usual = 1.0

    @property
    def taken(self) -> int:
        """Slots in use."""
        return self._pages - self._free

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._waiting)

    async def take(self) -> None:
        """Wait for a slot; whoever gets one gives it back with `release`.

        Raises OperatorError (rate_limited) at once where the queue is full.
        """
        if self._free and not self._waiting:
            self._free -= 1
            return
        if len(self._waiting) >= self._queue:
            raise OperatorError(
                ErrorCode.RATE_LIMITED,
                f"{self.taken} pages are open and {self.waiting} wait",
                retry_after=self._estimate(),
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._pass_on()  # the slot came in the moment of going away
            else:
                self._waiting.remove(place)
            raise

    def release(self, seconds: float) -> None:
        """Give a slot back that was used for ``seconds``: to the first who waits."""
        self._usual += 0.2 * (seconds - self._usual)
        self._pass_on()

    def refuse_all(self, error: OperatorError) -> None:
        """Send away all who wait."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(error)

    def _pass_on(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def _estimate(self) -> int:
        """Seconds until a place is free, as recent pages went."""
        return min(max(round(self._usual * (self._queue + 1) / self._pages), 1), 60)
