"""Services for the tests of HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.fakes.browsing import Browsing, browsing_at
from tests.fakes.running_service import service_fixtures
from tests.rest.rest_service import Service, running

Start = Callable[..., Awaitable[Service]]

service, both, start = service_fixtures(running)


@pytest.fixture
async def browsing() -> AsyncIterator[Browsing]:
    """A browser service that opens nothing."""
    async with browsing_at() as made:
        yield made
