"""Admission of pages: a bounded number at once, and a bounded first-in, first-out queue."""

from __future__ import annotations

import asyncio
from collections import deque

from operator_svc.errors import ErrorCode, OperatorError

_SMOOTHING = 0.2
"""Weight of the newest page in the moving average of their durations."""
_MAX_RETRY_AFTER = 60
"""Seconds."""


class AdmissionQueue:
    """A semaphore of ``pages`` permits with at most ``queue`` waiters."""

    def __init__(self, pages: int, queue: int) -> None:
        self._pages = pages
        self._available = pages
        self._queue = queue
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._average_seconds = 1.0

    @property
    def in_use(self) -> int:
        """Permits that are held."""
        return self._pages - self._available

    @property
    def waiting(self) -> int:
        """Requests that wait for a permit."""
        return len(self._waiters)

    async def acquire(self) -> None:
        """Wait for a permit; the holder returns it with `release`.

        Raises OperatorError(rate_limited) at once where the queue is full.
        """
        if self._available and not self._waiters:
            self._available -= 1
            return
        if len(self._waiters) >= self._queue:
            raise OperatorError(
                ErrorCode.RATE_LIMITED,
                f"{self.in_use} pages are open and {self.waiting} wait",
                retry_after=self._retry_after(),
            )
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._grant_next()  # granted and cancelled in the same turn of the loop
            else:
                self._waiters.remove(waiter)
            raise

    def release(self, seconds: float) -> None:
        """Return a permit that was held for ``seconds``; the first waiter gets it."""
        self._average_seconds += _SMOOTHING * (seconds - self._average_seconds)
        self._grant_next()

    def reject_all(self, error: OperatorError) -> None:
        """Fail all waiters with ``error``."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error)

    def _grant_next(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._available += 1

    def _retry_after(self) -> int:
        """Seconds until a place in the queue is expected to be free."""
        expected = round(self._average_seconds * (self._queue + 1) / self._pages)
        return min(max(expected, 1), _MAX_RETRY_AFTER)
