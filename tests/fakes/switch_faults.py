"""Faults of a Switch, each raised as its client raises it."""

from __future__ import annotations

from collections.abc import Callable

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.failures import PeerLostError, PeerRefusedError, PeerWorksError

Fault = Callable[[], None]


def unreachable() -> None:
    """Switch refuses the connection."""
    raise OperatorError(ErrorCode.SWITCH_UNAVAILABLE, "Switch cannot be reached")


def late() -> None:
    """Switch does not answer in time."""
    raise OperatorError(ErrorCode.SWITCH_TIMEOUT, "Switch did not answer in time (total)")


def broken() -> None:
    """Switch answers nonsense."""
    raise PeerWorksError(ErrorCode.SWITCH_ERROR, "Switch: its answer makes no sense")


def failing() -> None:
    """Switch answers with HTTP status 500."""
    raise OperatorError(ErrorCode.SWITCH_ERROR, "Switch answered with HTTP status 500")


def starting() -> None:
    """A proxy answers in place of Switch."""
    raise PeerLostError(ErrorCode.SWITCH_ERROR, "Switch answered with HTTP status 503")


def busy() -> None:
    """Switch has too many requests."""
    raise PeerWorksError(ErrorCode.SWITCH_BUSY, "Switch has too many requests")


def refused(status: int) -> Fault:
    """Switch refuses the call."""

    def fault() -> None:
        detail = f"Switch answered with HTTP status {status}"
        raise PeerRefusedError(ErrorCode.SWITCH_ERROR, detail, status=status)

    return fault
