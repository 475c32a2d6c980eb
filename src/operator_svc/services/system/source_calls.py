"""Calls to several peers at once, each with a status of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Generic, NamedTuple, TypeVar

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.breaker import CircuitOpenError
from operator_svc.protocol.system import SourceStatus, SourceView

T = TypeVar("T")

SPARE = 0.1
"""Seconds that a call has beyond its own limit: only a limit that the call itself finds passed
counts for the peer's circuit."""

_TIMEOUTS = frozenset({ErrorCode.PEER_TIMEOUT, ErrorCode.SWITCH_TIMEOUT})
_OK = SourceView(status="ok")


class SourceResult(NamedTuple, Generic[T]):
    """The answer of a source, None where it failed, and how the call went."""

    value: T | None
    source: SourceView


async def call_source(call: Awaitable[T], within: float) -> SourceResult[T]:
    """Await a call to a peer, which gives up after ``within`` seconds by itself; one that does not
    is given up a moment later. Raises nothing but cancellation."""
    try:
        async with asyncio.timeout(within + SPARE):
            return SourceResult(await call, _OK)
    except OperatorError as error:
        return SourceResult(
            None,
            SourceView(status=failure_of(error), error=str(error.code), detail=error.detail),
        )
    except TimeoutError:
        detail = f"it did not answer within {within:g} s"
        return SourceResult(None, SourceView(status="timeout", error="peer_timeout", detail=detail))


def failure_of(error: OperatorError) -> SourceStatus:
    """The status of a call that failed."""
    if isinstance(error, CircuitOpenError):
        return "circuit_open"
    return "timeout" if error.code in _TIMEOUTS else "error"
