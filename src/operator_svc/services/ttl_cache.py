"""Keeps answers for a moment, and asks for them once however many wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, NamedTuple, TypeVar

from operator_svc.background import TaskOwner

T = TypeVar("T")

TTL = 2.0
"""Seconds that an aggregate is kept."""


class CacheHit(NamedTuple, Generic[T]):
    """A kept answer and its age in seconds."""

    value: T
    age: float


class TtlCache(Generic[T]):
    """Calls ``ask`` where its last answer is older than ``ttl`` seconds.

    Callers that come while it is being asked wait for the same answer; one that is cancelled does
    not end it for the others. A failure is raised to all who wait for it, and not kept.
    """

    def __init__(
        self,
        ask: Callable[[], Coroutine[Any, Any, T]],
        tasks: TaskOwner,
        *,
        ttl: float = TTL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._tasks = tasks
        self._clock = clock
        self._asking: asyncio.Task[T | Exception] | None = None
        self._kept: T | None = None
        self._kept_at: float | None = None
        self.ttl = ttl

    async def get(self) -> CacheHit[T]:
        """The answer; raises what asking raises."""
        if self._kept_at is not None and (age := self._clock() - self._kept_at) < self.ttl:
            return CacheHit(self._kept, age)  # type: ignore[arg-type]  # kept together with its time
        if self._asking is None:
            self._asking = self._tasks.start(self._run(), "ask")
        answer = await asyncio.shield(self._asking)
        if isinstance(answer, Exception):
            raise answer
        return CacheHit(answer, 0.0)

    def forget(self) -> None:
        """Drop the answer: calls from now on get one that was asked for after now."""
        self._kept = self._kept_at = self._asking = None

    async def _run(self) -> T | Exception:
        """Call the source; a failure is a result here, because only its waiters may see it."""
        answer: T | Exception
        try:
            answer = await self._ask()
        except Exception as error:
            answer = error
        if self._asking is asyncio.current_task():
            self._asking = None
            if not isinstance(answer, Exception):
                self._kept, self._kept_at = answer, self._clock()
        return answer
