"""Circuit breaker: after failures in a row no call is made to a peer for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, get_args

import structlog

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError

FAILURES_TO_OPEN = 5
"""Failures in a row that open a circuit (the published contract, under 503)."""
COOL_DOWN = 5.0
"""Seconds that an open circuit stays open before one call may try."""

State = Literal["closed", "open", "half_open"]

log = structlog.get_logger(__name__)


class CircuitOpenError(OperatorError):
    """Raised in place of a call, while the circuit of a peer is open."""


class Breaker:
    """Counts the failures in a row of one peer.

    A call takes a permit from ``acquire`` and hands it to exactly one of ``succeeded``,
    ``failed`` or ``abandoned``. A permit is the circuit's generation, which each change of
    state advances: the outcome of a call from an earlier generation does not count, so a
    stream that ends late neither closes nor opens a circuit that later calls have judged.
    """

    def __init__(
        self,
        name: str,
        code: ErrorCode = ErrorCode.PEER_UNAVAILABLE,
        *,
        threshold: int = FAILURES_TO_OPEN,
        cool_down: float = COOL_DOWN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._code = code
        self._threshold = threshold
        self._cool_down = cool_down
        self._clock = clock
        self._state: State = "closed"
        self._failures = 0
        self._opened_at = 0.0
        self._generation = 0
        self._export()

    @property
    def state(self) -> State:
        """The state; ``half_open`` while one call probes the peer."""
        return self._state

    def acquire(self) -> int:
        """A permit for one call; raises CircuitOpenError while the circuit is open."""
        if self._state != "closed":
            wait = self._opened_at + self._cool_down - self._clock()
            if self._state == "half_open" or wait > 0:
                raise CircuitOpenError(
                    self._code,
                    f"{self.name} failed {self._threshold} times in a row and is left alone"
                    " for a moment",
                    retry_after=max(wait, 1.0),
                )
            self._become("half_open")
        return self._generation

    def succeeded(self, permit: int) -> None:
        """Record that the peer works: the call succeeded, or was refused properly."""
        if permit == self._generation:
            self._failures = 0
            if self._state == "half_open":
                self._become("closed")

    def first_byte(self, permit: int) -> int:
        """Record that a long call is being answered; returns the permit that it goes on with.

        A probe closes the circuit here, and the next failure opens it again.
        """
        if permit == self._generation and self._state == "half_open":
            self._become("closed")
            self._failures = self._threshold - 1
            return self._generation
        return permit

    def failed(self, permit: int) -> None:
        """Record that the call failed by the peer's fault."""
        if permit != self._generation:
            return
        self._failures += 1
        if self._failures >= self._threshold or self._state == "half_open":
            self._opened_at = self._clock()
            self._become("open")

    def abandoned(self, permit: int) -> None:
        """Record that the caller gave up, which says nothing about the peer."""
        if permit == self._generation and self._state == "half_open":
            self._become("open")  # the cool-down is over: the next call probes

    def _become(self, state: State) -> None:
        self._state = state
        self._generation += 1
        self._export()
        log.info("circuit changed", peer=self.name, state=state, failures=self._failures)

    def _export(self) -> None:
        for state in get_args(State):
            telemetry.BREAKER_STATE.labels(self.name, state).set(state == self._state)
