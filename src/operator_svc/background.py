"""Owners for background tasks: no task runs without somebody who ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

import structlog

T = TypeVar("T")

log = structlog.get_logger(__name__)


class AsyncCloseable:
    """An asynchronous context manager that ends by ``aclose``."""

    async def aclose(self) -> None:
        """End it; the last call that it gets."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class TaskOwner(AsyncCloseable):
    """Starts tasks, reports the ones that fail, and cancels and awaits the rest on close."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run ``work`` as a task of this owner."""
        if self._closed:
            work.close()
            raise RuntimeError(f"{self.name} is closed")
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background task failed", task=task.get_name(), exc_info=error)

    async def aclose(self) -> None:
        """Cancel what still runs and wait for its end."""
        self._closed = True
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def forever(
    step: Callable[[], Coroutine[Any, Any, None]],
    every: float,
    name: str,
) -> None:
    """Run ``step`` every ``every`` seconds; a step that fails is logged and tried again."""
    while True:
        try:
            await step()
        except Exception as error:  # the loop must outlive any fault of a step
            log.warning("periodic work failed", work=name, exc_info=error)
        await asyncio.sleep(every)
