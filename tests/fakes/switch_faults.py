"""Faults of a Switch, each raised as its client raises it."""

from __future__ import annotations

from collections.abc import Callable

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.base import PeerRefusedError

Fault = Callable[[], None]


def unreachable() -> None:
    """Switch refuses the connection."""
    raise OperatorError(ErrorCode.SWITCH_UNAVAILABLE, "Switch cannot be reached")


def late() -> None:
    """Switch does not answer in time."""
    raise OperatorError(ErrorCode.SWITCH_TIMEOUT, "Switch did not answer in time (total)")


def broken() -> None:
    """Switch answers nonsense."""
    raise OperatorError(ErrorCode.SWITCH_ERROR, "Switch: its answer makes no sense")


def refused(status: int) -> Fault:
    """Switch refuses the call."""

    def fault() -> None:
        detail = f"Switch answered with HTTP status {status}"
        raise PeerRefusedError(ErrorCode.SWITCH_ERROR, detail, status=status)

    return fault
