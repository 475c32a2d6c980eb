"""Probes and metrics of this process. None of these asks for a token."""

from __future__ import annotations

import asyncio
import functools
import time

import msgspec
import prometheus_client
import structlog
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from operator_svc.background import on_thread
from operator_svc.context import SERVICES, Services
from operator_svc.db.migrations import at_head
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.system import Health, Probe
from operator_svc.rest import responses
from operator_svc.rest.docs import examples
from operator_svc.rest.routing import Answer, RouteTable, json

log = structlog.get_logger(__name__)

READY_SECONDS = 1.0
"""Seconds that an answer about readiness holds, so that probes do not load the database."""
READY_TIMEOUT = 2.0
"""Longest look at the database for readiness; a probe waits no longer."""


class Readiness:
    """Readiness: the database responds and has all migrations; checked at most once a second."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looked = -READY_SECONDS
        self._problem: OperatorError | None = None
        self._looking = asyncio.Lock()

    async def check(self) -> None:
        """Raise OperatorError: draining, database_unavailable."""
        if self._services.drain.draining:
            raise OperatorError(ErrorCode.DRAINING, "this process is stopping")
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

route = RouteTable("machines", auth="open", quiet=True)


@route(
    "GET",
    "/health",
    answers={200: json(examples.HEALTH, "The process responds.")},
)
async def get_health(request: web.Request) -> web.StreamResponse:
    """Get the health of this process."""
    # It asks nobody: the gateway waits for it in its own health.
    services = request.app[SERVICES]
    status = (
        "draining" if services.drain.draining else "degraded" if services.bus.degraded else "ok"
    )
    return responses.encoded(_health(status, int(time.monotonic() - _begun)))


@functools.lru_cache(maxsize=2)
def _health(status: str, uptime: int) -> bytes:
    """The answer's bytes, the same for a second."""
    return msgspec.json.encode(Health(status=status, uptime_seconds=uptime))


@route(
    "GET",
    "/health/live",
    answers={200: json(examples.PROBE, "The event loop runs.")},
)
async def get_liveness(request: web.Request) -> web.StreamResponse:
    """Check that the process is alive."""
    # That the event loop runs: it never depends on the database or a peer.
    return responses.json(Probe("ok"))


@route(
    "GET",
    "/health/ready",
    answers={200: json(examples.PROBE, "The process is ready.")},
    errors=(ErrorCode.DRAINING, ErrorCode.DATABASE_UNAVAILABLE),
)
async def get_readiness(request: web.Request) -> web.StreamResponse:
    """Check that the process can serve."""
    await request.app[READINESS].check()
    return responses.json(Probe("ready"))


@route(
    "GET",
    "/metrics",
    answers={200: Answer(meaning="Prometheus' text format.", content={"text/plain": str})},
)
async def get_metrics(request: web.Request) -> web.StreamResponse:
    """Get the metrics, for Prometheus."""
    # Each series takes some 20 µs, and there is one for each token and model.
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    body = await on_thread(functools.partial(encode, prometheus_client.REGISTRY))
    return web.Response(body=body, headers={"Content-Type": content_type})
