"""HTTP: one thin module of handlers for each resource, and the middleware before them."""

from __future__ import annotations

from aiohttp import web

from operator_svc.context import SERVICES, Services
from operator_svc.rest import cors, middleware, responses
from operator_svc.rest.ai_sdk import handlers as ai_sdk
from operator_svc.rest.docs import pages
from operator_svc.rest.handlers import (
    browser_tasks,
    chat,
    console,
    health,
    replies,
    sessions,
    switch,
    system,
    tool_calls,
    usage,
)
from operator_svc.rest.openai import completions, conversation
from operator_svc.rest.openai import responses as openai_responses
from operator_svc.rest.routing import ROUTER, Router, RouteTable

TABLES = (
    chat.route,
    sessions.route,
    replies.route,
    browser_tasks.route,
    tool_calls.route,
    switch.route,
    system.route,
    usage.route,
    console.route,
    completions.route,
    openai_responses.route,
    conversation.route,
    ai_sdk.route,
    health.route,
    pages.route,
)
CONSOLE = console.pages
"""Kept by this name: once the console's files are read, ``rest.console`` is the folder of them."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def application(services: Services, websocket: RouteTable) -> web.Application:
    """An application with all calls of HTTP, and the ``websocket`` as one more."""
    settings = services.settings
    operations = [operation for table in (*TABLES, pages.files, websocket) for operation in table]
    if settings.console == "on":
        operations += CONSOLE
    documents = pages.Documents(operations, settings.public_url)
    if settings.metrics_port:
        operations = [call for call in operations if call.handler is not health.get_metrics]
    router = Router(operations, cors.options)
    app = web.Application(client_max_size=settings.max_body)
    app[SERVICES] = services
    app[ROUTER] = router
    app[pages.DOCUMENTS] = documents
    app[health.READINESS] = health.Readiness(services)
    app.middlewares.append(middleware.middleware_of(middleware.RequestPipeline(services, router)))
    app.on_response_prepare.append(responses.finish_headers)
    router.register(app, expect)
    return app


async def expect(request: web.Request) -> None:
    """Let a client that asks first (``Expect: 100-continue``) send its body, unless that is
    too large; other expectations are ignored, as RFC 9110 allows."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return
    length = request.content_length
    if length is None or length <= request.app[SERVICES].settings.max_body:
        assert request.transport is not None
        request.transport.write(CONTINUE)
