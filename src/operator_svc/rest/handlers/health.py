"""Is it alive, is it ready, and what do its metrics say. None of these asks for a token."""

from __future__ import annotations

import asyncio
import functools
import time

import msgspec
import prometheus_client
import structlog
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from operator_svc import __version__
from operator_svc.context import SERVICES, Services
from operator_svc.db.migrations import at_head
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.rest import responses

log = structlog.get_logger(__name__)

READY_SECONDS = 1.0
"""How long an answer about readiness holds, so that probes do not load the database."""
READY_TIMEOUT = 2.0
"""Longest look at the database for readiness; a probe waits no longer."""


class Readiness:
    """Whether the database is there and has all migrations; looked at once a second at most."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looked = -READY_SECONDS
        self._problem: OperatorError | None = None
        self._looking = asyncio.Lock()

    async def check(self) -> None:
        """Raises OperatorError: draining, database_unavailable."""
        if self._services.drain.draining:
            raise OperatorError(ErrorCode.DRAINING, "this process is about to stop")
        async with self._looking:
            if time.monotonic() - self._looked >= READY_SECONDS:
                self._problem = await self._look()
                self._looked = time.monotonic()
        if self._problem is not None:
            raise self._problem

    async def _look(self) -> OperatorError | None:
        database = self._services.database
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                await database.ping()
                if await at_head(database):
                    return None
        except OperatorError as error:
            return error
        except TimeoutError:
            detail = f"the database did not answer within {READY_TIMEOUT:g} s"
            return OperatorError(ErrorCode.DATABASE_UNAVAILABLE, detail)
        return OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "the database lacks migrations")


READINESS: web.AppKey[Readiness] = web.AppKey("readiness", Readiness)
_begun = time.monotonic()


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """This process, as it says itself: ``status`` is ok, or draining when it is about to stop."""

    status: str
    module: str = "operator"
    version: str = __version__
    uptime_seconds: int


class Probe(msgspec.Struct, frozen=True):
    """The good answer to a probe."""

    status: str


async def health(request: web.Request) -> web.StreamResponse:
    """That this process answers. It asks nobody: the gateway waits for it in its own health."""
    draining = request.app[SERVICES].drain.draining
    return responses.encoded(_health(draining, int(time.monotonic() - _begun)))


@functools.lru_cache(maxsize=2)
def _health(draining: bool, uptime: int) -> bytes:
    """The same bytes for a second."""
    status = "draining" if draining else "ok"
    return msgspec.json.encode(Health(status=status, uptime_seconds=uptime))


async def live(request: web.Request) -> web.StreamResponse:
    """That the event loop runs. Never depends on the database or a neighbour."""
    return responses.json(Probe("ok"))


async def ready(request: web.Request) -> web.StreamResponse:
    """Whether this process can serve: 503 while it drains or has no database."""
    await request.app[READINESS].check()
    return responses.json(Probe("ready"))


async def metrics(request: web.Request) -> web.StreamResponse:
    """The metrics, in the format that Prometheus asks for."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    body = encode(prometheus_client.REGISTRY)
    return web.Response(body=body, headers={"Content-Type": content_type})


ROUTES = [
    web.get("/health", health),
    web.get("/health/live", live),
    web.get("/health/ready", ready),
]
METRICS = [web.get("/metrics", metrics)]
