"""Limits of the time that a peer may take, which a pause of this process does not use up."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

LOOK_AGAIN = 0.25
"""Seconds that a peer has once its time is up. A process that stood still (a suspended machine, no
processor, a debugger) sees first which timers are due, and then what had come: without them, all
calls under way would fail, and their failures open the peer's circuit."""


class TimeLimit:
    """Bounds a block in time, as ``asyncio.timeout`` does: raises TimeoutError at its end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.Timeout(None)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        await self._timeout.__aenter__()
        self._timer = loop.call_later(self._seconds, self._is_up, loop)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def _is_up(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timeout.reschedule(loop.time() + LOOK_AGAIN)
