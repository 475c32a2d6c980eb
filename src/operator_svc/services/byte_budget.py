"""The budget of bytes that wait in this process for clients to take them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError

RETRY_AFTER = 2.0
"""Seconds after which what was refused may be asked for again."""
SMALL = 64 * 1024
"""Bytes that are sent whatever else is held."""


class ByteBudget:
    """Counts the bytes of answers and frames that clients have not taken yet.

    ``held`` is their number. Beyond ``limit`` what is large is refused, rather than that the kernel
    kills the process.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        telemetry.BYTES_IN_FLIGHT_LIMIT.set(limit)
        self.held = 0

    def add(self, size: int) -> None:
        """Count ``size`` bytes more, or less where it is negative."""
        self.held += size

    @contextmanager
    def holding(self, size: int, *, refusable: bool) -> Iterator[None]:
        """The context in which ``size`` bytes are held for a client. Raises as ``check`` where they
        are many, and may be refused."""
        if refusable and size > SMALL:
            self.check(size)
        self.add(size)
        try:
            yield
        finally:
            self.add(-size)

    @property
    def exhausted(self) -> bool:
        """True while no more bytes should be held."""
        return self.held >= self._limit

    def check(self, size: int = 0) -> None:
        """Raise OperatorError(rate_limited) where there is no room for ``size`` bytes."""
        if self.exhausted or self.held + size > self._limit:
            telemetry.BYTES_REFUSED.inc()
            raise OperatorError(
                ErrorCode.RATE_LIMITED,
                "the clients of this process have too much unread data",
                retry_after=RETRY_AFTER,
            )
