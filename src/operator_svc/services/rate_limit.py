"""Rates: how much of something a caller may do in a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from operator_svc.errors import ErrorCode, OperatorError

MAX_BUCKETS = 20_000
"""Callers remembered at once; the one not seen for longest is forgotten first."""


class TokenBucket:
    """``rate`` in ``per`` seconds, all of which may come at once; a ``rate`` of 0 is no limit."""

    __slots__ = ("_at", "_clock", "_left", "per", "rate")

    def __init__(
        self, rate: float, per: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self.per = per
        self._clock = clock
        self._left = float(rate)
        self._at = clock()

    def take(self) -> bool:
        """Count one; False where there is none left."""
        if not self.rate:
            return True
        left = self.left
        if left < 1:
            return False
        self._left = left - 1
        self._at = self._clock()
        return True

    def give_back(self) -> None:
        """Take back one that was counted."""
        self._left += 1

    @property
    def left(self) -> float:
        """The number that is still allowed now."""
        gained = (self._clock() - self._at) * self.rate / self.per
        return min(self.rate, self._left + gained)


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
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, key: str) -> None:
        """Count one; raises OperatorError(rate_limited) with the seconds until there is room."""
        if not self.rate:
            return
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self.rate, self.per, self._clock)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        if not bucket.take():
            raise OperatorError(
                ErrorCode.RATE_LIMITED,
                f"more than {self.rate} {self._what} in {self.per:g} s",
                retry_after=(1 - bucket.left) * self.per / self.rate,
            )

    def give_back(self, key: str) -> None:
        """Take back one that was counted."""
        if (bucket := self._buckets.get(key)) is not None:
            bucket.give_back()

    def left(self, key: str) -> float:
        """The number that is still allowed now."""
        bucket = self._buckets.get(key)
        return float(self.rate) if bucket is None else bucket.left
