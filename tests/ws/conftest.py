"""Services for the tests of the websocket and the event streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.fakes.running_service import service_fixtures
from tests.ws.ws_service import Service, serving

Start = Callable[..., Awaitable[Service]]

service, both, start = service_fixtures(serving)
