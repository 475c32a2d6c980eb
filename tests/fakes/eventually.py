"""Waiting for what comes true soon, by asking for it again and again."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

WITHIN = 10.0
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
            code = check.__code__ if inspect.isfunction(check) else None
            place = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
            raise AssertionError(f"not within {within} s{place}: {last[:2000]}") from failure
        await asyncio.sleep(every)
