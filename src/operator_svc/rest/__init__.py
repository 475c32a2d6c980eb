"""HTTP: one thin module for each resource, and what all requests pass."""

from __future__ import annotations

import re

from aiohttp import web

from operator_svc.context import SERVICES, Services
from operator_svc.rest import middleware, responses
from operator_svc.rest.docs import pages
from operator_svc.rest.handlers import (
    browser_tasks,
    chat,
    health,
    replies,
    sessions,
    switch,
    system,
    tool_calls,
)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def application(services: Services) -> web.Application:
    """An application with all that requests pass, and the routes of HTTP."""
    settings = services.settings
    app = web.Application(client_max_size=settings.max_body)
    app[SERVICES] = services
    app[health.READINESS] = health.Readiness(services)
    app.middlewares.append(middleware.middleware_of(middleware.RequestPipeline(services)))
    app.on_response_prepare.append(responses.finish_headers)
    routes(app)
    return app


def routes(app: web.Application) -> None:
    """Add all routes of HTTP to ``app``."""
    all_routes = [
        *chat.ROUTES,
        *sessions.ROUTES,
        *replies.ROUTES,
        *browser_tasks.ROUTES,
        *tool_calls.ROUTES,
        *switch.ROUTES,
        *system.ROUTES,
        *pages.ROUTES,
        *health.ROUTES,
    ]
    if not app[SERVICES].settings.metrics_port:
        all_routes += health.METRICS
    for route in all_routes:
        kwargs = {**route.kwargs, "expect_handler": expect}
        # Whatever an id looks like, it is looked at: aiohttp's own pattern leaves braces out.
        path = re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", route.path)
        web.RouteDef(route.method, path, route.handler, kwargs).register(app.router)


async def expect(request: web.Request) -> None:
    """Let a client that asks first (``Expect: 100-continue``) send its body, unless that is
    too large; other expectations are ignored, as RFC 9110 allows."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return
    length = request.content_length
    if length is None or length <= request.app[SERVICES].settings.max_body:
        assert request.transport is not None
        request.transport.write(CONTINUE)
