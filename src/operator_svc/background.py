"""Owners for background tasks: no task runs without somebody who ends it; and a thread for work
that would hold the event loop up."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Self, TypeVar

import structlog

T = TypeVar("T")

log = structlog.get_logger(__name__)

LARGE = 64 * 1024
"""Bytes beyond which JSON is not read or written on the event loop: a megabyte of small objects
takes a tenth of a second."""
REPEAT = 10.0
"""Seconds between two lines of the log about a step that goes on failing in the same way: some run
ten times a second, and each line has a traceback."""
AT_ONCE = 50
"""Clients that are sent away in one turn of the event loop, which replies of others need meanwhile:
each takes some calls of the system."""
_thread = ThreadPoolExecutor(1, thread_name_prefix="aside")


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
    """Run ``step`` every ``every`` seconds; a step that fails is logged and tried again. The line
    counts the ``failures`` since the one before."""
    failures, said, due = 0, "", 0.0
    while True:
        try:
            await step()
        except Exception as error:  # the loop must outlive any fault of a step
            failures += 1
            if repr(error) != said or time.monotonic() >= due:
                log.warning("periodic work failed", work=name, failures=failures, exc_info=error)
                failures, said, due = 0, repr(error), time.monotonic() + REPEAT
        await asyncio.sleep(every)


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The ``items``, ``AT_ONCE`` in a turn of the event loop."""
    for number, item in enumerate(items, 1):
        yield item
        if not number % AT_ONCE:
            await asyncio.sleep(0)


async def aside(size: int, work: Callable[[], T]) -> T:
    """The result of ``work`` on ``size`` bytes, which is done on a thread where they are many."""
    return work() if size <= LARGE else await on_thread(work)


async def on_thread(work: Callable[[], T]) -> T:
    """The result of ``work``, which is done on a thread.

    There is one thread for all, and it pauses after each work for as long as that took: while it
    runs it takes the interpreter from the event loop for half of the time. Cancelling abandons
    the result.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread, copy_context().run, _undisturbed, work)


def _undisturbed(work: Callable[[], T]) -> T:
    """The result of ``work``, during which garbage is not looked for: it would be among all the
    new objects, again and again, and the event loop would wait for it."""
    begun = time.perf_counter()
    gc.disable()
    try:
        return work()
    finally:
        gc.enable()
        _thread.submit(time.sleep, time.perf_counter() - begun)
