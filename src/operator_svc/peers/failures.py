"""Failures of a peer: their error codes, and errors by what they say about the peer."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from operator_svc.errors import ErrorCode, OperatorError

MAX_RETRY_AFTER = 86400.0
"""Longest wait, in seconds, that a peer is believed."""


class Failures(NamedTuple):
    """Error codes for the failures of one peer."""

    error: ErrorCode
    unavailable: ErrorCode
    timeout: ErrorCode
    busy: ErrorCode


PEER = Failures(
    ErrorCode.PEER_ERROR,
    ErrorCode.PEER_UNAVAILABLE,
    ErrorCode.PEER_TIMEOUT,
    ErrorCode.PEER_ERROR,
)
SWITCH = Failures(
    ErrorCode.SWITCH_ERROR,
    ErrorCode.SWITCH_UNAVAILABLE,
    ErrorCode.SWITCH_TIMEOUT,
    ErrorCode.SWITCH_BUSY,
)


class PeerWorksError(OperatorError):
    """Raised where a peer that works answers otherwise than it was hoped.

    It says nothing against the peer's circuit: a fault of one caller, or of one engine behind
    the peer, must not shut out all others.
    """


class PeerRefusedError(PeerWorksError):
    """Raised where a peer refuses this very call: a repeat would change nothing.

    ``status`` is its HTTP status, 4xx, or 200 where it refuses with ``status: "error"``.
    ``body`` is the start of its answer, masked, for programs and for the log.
    """

    def __init__(self, code: ErrorCode, detail: str, *, status: int, body: str = "") -> None:
        super().__init__(code, detail)
        self.status = status
        self.body = body


class PeerLostError(OperatorError):
    """Raised where a call did not get through: a read may be repeated at once."""


def retry_after(header: str) -> float | None:
    """The seconds of a ``Retry-After`` header, a number or a date (RFC 9110), if it can be used."""
    if header.strip().isdecimal():
        seconds = float(header)
    else:
        try:
            date = parsedate_to_datetime(header)
        except (ValueError, OverflowError):  # the latter for numbers of more than nine digits
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        seconds = (date - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if seconds <= MAX_RETRY_AFTER else None
