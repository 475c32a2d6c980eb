"""A circuit breaker: after failures in a row a peer is left alone for a while."""

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
    """The call was not made: the peer failed too often just now."""


class Breaker:
    """Counts the failures of one peer.

    A call takes a ticket from ``enter`` and hands it back to exactly one of ``succeeded``,
    ``failed`` or ``left``. Tickets are numbered by the circuit's state: what a call that
    began in an earlier state has to say no longer counts, so a stream that ends late can
    neither close nor open a circuit that others have judged meanwhile.
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
        self._era = 0
        self._tell()

    @property
    def state(self) -> State:
        """``half_open`` means that one call is trying whether the peer is back."""
        return self._state

    def enter(self) -> int:
        """A ticket for one call; raises CircuitOpenError where none may be made now."""
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
        return self._era

    def succeeded(self, ticket: int) -> None:
        """The call ended well, or the peer refused it in good order."""
        if ticket == self._era:
            self._failures = 0
            if self._state == "half_open":
                self._become("closed")

    def alive(self, ticket: int) -> int:
        """A long call has its first answer; returns the ticket that the call goes on with.

        A trying call lets the others in from here, but one more failure shuts them out again.
        """
        if ticket == self._era and self._state == "half_open":
            self._become("closed")
            self._failures = self._threshold - 1
            return self._era
        return ticket

    def failed(self, ticket: int) -> None:
        """The call failed by the peer's fault."""
        if ticket != self._era:
            return
        self._failures += 1
        if self._failures >= self._threshold or self._state == "half_open":
            self._opened_at = self._clock()
            self._become("open")

    def left(self, ticket: int) -> None:
        """The call was given up by its caller: it says nothing about the peer."""
        if ticket == self._era and self._state == "half_open":
            self._become("open")  # its time is over: the next call tries

    def _become(self, state: State) -> None:
        self._state = state
        self._era += 1
        self._tell()
        log.info("circuit changed", peer=self.name, state=state, failures=self._failures)

    def _tell(self) -> None:
        for state in get_args(State):
            telemetry.BREAKER_STATE.labels(self.name, state).set(state == self._state)
