"""Rates: how much of something a caller may do in a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from operator_svc.errors import ErrorCode, OperatorError

MAX_BUCKETS = 20_000
"""Callers remembered at once; the one not seen for longest is forgotten first."""


class RateLimit:
    """A token bucket for each key: ``rate`` in ``per`` seconds; 0 is no limit."""

    def __init__(
        self, rate: int, per: float, what: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self.per = per
        self.policy = f"q={rate};w={per:g}"
        self._what = what
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """Count one; raises OperatorError(rate_limited) with the seconds until there is room."""
        if not self.rate:
            return
        left = self.left(key)
        if left < 1:
            wait = (1 - left) * self.per / self.rate
            raise OperatorError(
                ErrorCode.RATE_LIMITED,
                f"more than {self.rate} {self._what} in {self.per:g} s",
                retry_after=wait,
            )
        self._buckets[key] = (left - 1, self._clock())
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)

    def left(self, key: str) -> float:
        """How many more are allowed now."""
        count, at = self._buckets.get(key, (float(self.rate), 0.0))
        return min(self.rate, count + (self._clock() - at) * self.rate / self.per)
