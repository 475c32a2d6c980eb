"""Repeats writes: while the database is away, or for as many rows as there are."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from operator_svc.errors import ErrorCode, OperatorError

log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts: each pause is twice the one before, up to the second number."""


def _always() -> bool:
    return True


async def until_stored(
    write: Callable[[], Awaitable[T]],
    what: str,
    *,
    within: float = math.inf,
    wanted: Callable[[], bool] = _always,
) -> T | None:
    """The answer of ``write``, repeated while the database is away; ``what`` names it in the log.

    An attempt that seemed to fail may have been stored, so ``write`` must find out by itself that
    it is done already. None as soon as it is not ``wanted`` any more. Raises the last
    OperatorError(database_unavailable) after ``within`` seconds, and any other error at once.
    """
    deadline = time.monotonic() + within
    pause = FIRST_PAUSE
    while wanted():
        try:
            return await write()
        except OperatorError as error:
            if error.code is not ErrorCode.DATABASE_UNAVAILABLE:
                raise
            if time.monotonic() + pause > deadline:
                raise
            log.warning("write retried", what=what, error=str(error.code), seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
    return None


async def purge_pages(purge_page: Callable[[int], Awaitable[int]], page: int) -> None:
    """Purge in writes of ``page`` rows each, so that none holds locks for long."""
    while await purge_page(page) >= page:
        pass
