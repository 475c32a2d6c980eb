"""Waiting for what comes true soon, by asking for it again and again."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

WITHIN = 30.0
"""Seconds after which a test fails that waits for something; a busy machine may need many."""
_EVERY = 0.01


@overload
async def eventually(
    check: Callable[[], Awaitable[T]], within: float = ..., *, every: float = ...
) -> T: ...


@overload
async def eventually(check: Callable[[], T], within: float = ..., *, every: float = ...) -> T: ...


async def eventually(
    check: Callable[[], Any], within: float = WITHIN, *, every: float = _EVERY
) -> Any:
    """The first true value that ``check`` gives; it is called or, where it is one, awaited.

    An AssertionError of ``check`` counts as not yet. Raises AssertionError, with what ``check``
    gave last and where it stands, when nothing was true ``within`` seconds.
    """
    deadline = asyncio.get_running_loop().time() + within
    while True:
        failure: AssertionError | None = None
        try:
            found = check()
            value = await found if inspect.isawaitable(found) else found
        except AssertionError as error:
            failure = error
        else:
            if value:
                return value
        if asyncio.get_running_loop().time() >= deadline:
            last = str(failure) if failure is not None else repr(value)
            raise AssertionError(_too_late(check, within, last)) from failure
        await asyncio.sleep(every)


def block_until(check: Callable[[], T], within: float = WITHIN, *, every: float = _EVERY) -> T:
    """``eventually`` outside of an event loop; an AssertionError of ``check`` is raised at once."""
    deadline = time.monotonic() + within
    while not (value := check()):
        assert time.monotonic() < deadline, _too_late(check, within, repr(value))
        time.sleep(every)
    return value


def _too_late(check: Callable[[], Any], within: float, last: str) -> str:
    code = check.__code__ if inspect.isfunction(check) else None
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"not within {within} s{place}: {last[:2000]}"
