"""The state of the system. These calls always succeed, with what is known."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.rest import responses
from operator_svc.rest.docs import examples
from operator_svc.rest.routing import RouteTable, json
from operator_svc.services.ttl_cache import CacheHit, TtlCache

route = RouteTable("system")


@route(
    "GET",
    "/operator/vx11/overview",
    answers={200: json(examples.OVERVIEW, "The state of each module.", "Age")},
)
async def get_overview(request: web.Request) -> web.StreamResponse:
    """Get the state of all modules of VX11."""
    return await _answer(request.app[SERVICES].system.overview)


@route(
    "GET",
    "/operator/shub/dashboard",
    answers={200: json(examples.DASHBOARD, "The state of Shub.", "Age")},
)
async def get_dashboard(request: web.Request) -> web.StreamResponse:
    """Get the dashboard of Shub."""
    return await _answer(request.app[SERVICES].system.dashboard)


@route(
    "GET",
    "/operator/resources",
    answers={
        200: json(examples.RESOURCES, "Tools and models, as far as a peer named them.", "Age")
    },
)
async def get_resources(request: web.Request) -> web.StreamResponse:
    """List tools and models."""
    return await _answer(request.app[SERVICES].system.resources)


async def _answer(cached: TtlCache[Any]) -> web.StreamResponse:
    fresh = await cached.get()
    return responses.json(fresh.value, headers=_age_headers(fresh, cached.ttl))


def _age_headers(fresh: CacheHit[Any], ttl: float) -> dict[str, str]:
    """Cache-Control and Age (RFC 9111): how long an answer may be used, and how old it is."""
    return {"Cache-Control": f"private, max-age={int(ttl)}", "Age": str(int(fresh.age))}
