"""A running service with a client of it, and the fixtures that start some."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest
from aiohttp import ClientSession

from operator_svc.app import Operator

S = TypeVar("S")


@dataclass(eq=False)
class RunningService(Generic[S]):
    """A running service, what stands in for its Switch, and a session for its clients."""

    operator: Operator
    switch: S
    url: str
    session: ClientSession


def service_fixtures(
    running: Callable[..., AbstractAsyncContextManager[Any]],
) -> tuple[Any, Any, Any]:
    """The fixtures ``service``, ``both`` and ``start`` of those that ``running`` starts."""

    @pytest.fixture
    async def service(sqlite_url: str) -> AsyncIterator[Any]:
        """A service on SQLite."""
        async with running(sqlite_url) as started:
            yield started

    @pytest.fixture
    async def both(database_url: str) -> AsyncIterator[Any]:
        """A service: the test runs once on each engine."""
        async with running(database_url) as started:
            yield started

    @pytest.fixture
    async def start(sqlite_url: str) -> AsyncIterator[Any]:
        """Starts a service on SQLite with settings of the test's own; one a test."""
        async with AsyncExitStack() as stack:

            async def begin(**settings: Any) -> Any:
                return await stack.enter_async_context(running(sqlite_url, **settings))

            yield begin

    return service, both, start
