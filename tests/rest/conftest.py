"""Services for the tests of HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.fakes.browsing import Browsing, browsing_at
from tests.rest.rest_service import Service, running


@pytest.fixture
async def service(sqlite_url: str) -> AsyncIterator[Service]:
    """A service on SQLite."""
    async with running(sqlite_url) as started:
        yield started


@pytest.fixture
async def both(database_url: str) -> AsyncIterator[Service]:
    """A service: the test runs once on each engine."""
    async with running(database_url) as started:
        yield started


Start = Callable[..., Awaitable[Service]]


@pytest.fixture
async def start(sqlite_url: str) -> AsyncIterator[Start]:
    """Starts a service on SQLite with settings of the test's own; one a test."""
    async with AsyncExitStack() as stack:

        async def begin(**settings: Any) -> Service:
            return await stack.enter_async_context(running(sqlite_url, **settings))

        yield begin


@pytest.fixture
async def browsing() -> AsyncIterator[Browsing]:
    """A browser service that opens nothing."""
    async with browsing_at() as made:
        yield made
