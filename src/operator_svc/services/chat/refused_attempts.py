"""Attempts that were refused before anything was stored, so that the next one is no repetition."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.intents import Intent

WITHIN = 180.0
"""Seconds after a refusal within which the attempt after it comes: SDKs wait for as long as
``Retry-After`` says, which is 120 at most, and a little longer."""
MOST = 10_000
"""Attempts remembered at once; the oldest one is forgotten first."""
ALIKE = 100
"""Refusals remembered of one attempt, which many callers may make at once."""


class RefusedAttempts:
    """Counts refused attempts by the key of their intent and by the number of the next attempt.

    That one counts itself as a repetition, but what is stored under the key is of others who have
    asked the same. It is remembered by this process alone, to which SDKs keep their connection.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: OrderedDict[tuple[str, int], deque[float]] = OrderedDict()

    @contextmanager
    def noting(self, intent: Intent) -> Iterator[None]:
        """Note the attempt if it is refused within, unless an earlier one may have been stored."""
        try:
            yield
        except OperatorError as error:
            renewal = intent.renewal
            if error.code is ErrorCode.RATE_LIMITED and renewal and not renewal.repeated:
                self.note(intent.key, intent.number)
            raise

    def note(self, key: str, number: int) -> None:
        """Remember that attempt ``number`` was refused."""
        place = (key, number + 1)
        self._refused.setdefault(place, deque(maxlen=ALIKE)).append(self._clock())
        self._refused.move_to_end(place)
        if len(self._refused) > MOST:
            self._refused.popitem(last=False)

    def follows(self, key: str, number: int) -> bool:
        """True once for each refusal that attempt ``number`` may follow."""
        if not number or (key, number) not in self._refused:
            return False
        times = self._refused.pop((key, number))
        while times and self._clock() - times[0] > WITHIN:
            times.popleft()
        if not times:
            return False
        times.popleft()
        if times:
            self._refused[key, number] = times
        return True
