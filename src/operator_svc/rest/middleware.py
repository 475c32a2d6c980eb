"""Middleware: request id, origin, token and limits before the handler; after it the answer to
a failure, the access log and the metrics.

One lean middleware instead of a chain: each link of a chain costs as much as a handler.
"""

from __future__ import annotations

import asyncio
import random
from time import perf_counter

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from aiohttp.web_urldispatcher import AbstractRoute

from operator_svc import telemetry, tracing
from operator_svc.context import Services
from operator_svc.errors import OperatorError, drop_frames
from operator_svc.protocol import headers
from operator_svc.rest import cors, requests
from operator_svc.rest.problems import problem
from operator_svc.rest.request_context import CALL, Call, request_id_of
from operator_svc.rest.routing import Auth, Handler, Operation, Router
from operator_svc.rest.server.admission import full
from operator_svc.rest.server.connections import connection_of
from operator_svc.services import access
from operator_svc.services.auth import WrongTokenError

log = structlog.get_logger(__name__)

UNMATCHED = "unmatched"
"""The route of requests that no route takes, in logs and metrics."""
LARGE_ANSWER = 64 * 1024
"""Bytes beyond which an answer needs room among those that wait for their clients."""
CLIENT_GONE = 499
"""The status in logs and metrics where the client left before its answer (nginx's number)."""


class _Route:
    """A route as the pipeline needs it; its metrics are looked up once."""

    __slots__ = ("auth", "large", "metrics", "quiet", "span", "template")

    def __init__(self, template: str, method: str, operation: Operation | None = None) -> None:
        self.template = template
        self.span = f"{method} {template}"
        self.auth: Auth = operation.auth if operation is not None else "token"
        self.quiet = operation is not None and operation.quiet
        self.large = operation is not None and any(p.name == "limit" for p in operation.parameters)
        self.metrics = telemetry.HTTP.route(template, method)


class RequestPipeline:
    """Checks each request before its handler, and counts and logs its answer after it."""

    def __init__(self, services: Services, router: Router) -> None:
        settings = services.settings
        self._router = router
        self._authenticator = services.authenticator
        self._tokens = services.tokens
        self._drain = services.drain
        self._origins = settings.origins
        self._own_pages = services.tokens.required
        self._budget = services.byte_budget
        self._hosts = access.allowed_hosts(settings) if settings.auth == "off" else None
        self._max_body = settings.max_body
        self._sample = settings.log_sample
        self._routes: dict[AbstractRoute, _Route] = {}
        self._unmatched: dict[str, _Route] = {}
        self._log = log.bind()

    def route(self, request: web.Request) -> _Route:
        """The route that a request takes."""
        match = request.match_info
        known = self._routes.get(match.route)
        if known is None:
            method = request.method
            if match.http_exception is not None:
                known = self._unmatched.get(method)
                if known is None:
                    known = self._unmatched[method] = _Route(UNMATCHED, method)
                return known
            operation = self._router.find(match.route)
            template = operation.path if operation is not None else UNMATCHED
            known = self._routes[match.route] = _Route(template, match.route.method, operation)
        return known

    async def enter(self, request: web.Request, call: Call, route: _Route) -> None:
        """Check a request before its handler runs; raises OperatorError or web.HTTPException."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None:
            cors.check_origin(origin, _host(request), self._origins, own=self._own_pages)
            call.origin = origin
        if not route.quiet and connection_of(request).in_reserve:
            telemetry.CONNECTIONS_REFUSED.labels("full").inc()
            raise full()
        if cors.is_preflight(request):
            return
        if request.match_info.http_exception is not None:
            raise request.match_info.http_exception
        if self._hosts is not None and route.auth != "open":
            access.check_host(_host(request), self._hosts)
        if route.auth == "token":
            await self._authenticate(request, call)
        if route.large:
            self._budget.check()
        if request.body_exists:
            length = request.content_length
            if length is not None and length > self._max_body:
                raise requests.too_large(self._max_body)
            if headers.is_compressed(request.headers.get(hdrs.CONTENT_ENCODING)):
                raise requests.compressed()

    async def _authenticate(self, request: web.Request, call: Call) -> None:
        authenticator = self._authenticator
        token = headers.token_of(request.headers)
        caller = call.caller = await authenticator.identify(token, connection_of(request).address)
        if authenticator.rate.rate:
            call.tell_rate("requests", authenticator.rate, caller.name)
        authenticator.count(caller)

    def check_answer(self, request: web.Request, call: Call, response: web.StreamResponse) -> None:
        """Refuse a response whose caller's token was revoked meanwhile, and a large one beyond the
        budget; the latter only for a request that can be repeated safely.

        Raises OperatorError: forbidden, rate_limited.
        """
        if call.caller is not None and not response.prepared:
            self._tokens.check_current(call.caller)
        body = response.body if isinstance(response, web.Response) else None
        if isinstance(body, bytes) and len(body) > LARGE_ANSWER and request.method == hdrs.METH_GET:
            self._budget.check(len(body))

    def fail(self, request: web.Request, call: Call, error: Exception) -> web.StreamResponse:
        """The answer to a failed request; one that has begun already breaks off."""
        if isinstance(error, ConnectionError) and _left(request):
            return _unsent()
        if request.writer.output_size > 0:
            if isinstance(error, OperatorError):  # a failure that has a code is no fault of ours
                log.warning("response interrupted", error=str(error.code))
            else:
                log.error("response interrupted", exc_info=error)
            if request.transport is not None:  # no client may take the half for the whole
                request.transport.abort()
            return _unsent()
        response = problem(error, call.request_id, request.path)
        if response.status == 500:
            log.error("request failed", exc_info=error)
        elif response.status in (401, 403):
            log.warning(
                "audit",
                action=f"{request.method} {request.rel_url.path_safe}"[:200],
                caller=call.caller.name if call.caller else None,
                outcome="refused",
                status=response.status,
            )
        return response

    def leave(
        self, request: web.Request, call: Call, route: _Route, status: int, size: int, begun: float
    ) -> None:
        """Count and log an answered request; ``size`` is in bytes, ``begun`` of perf_counter."""
        took = perf_counter() - begun
        method = request.method
        route.metrics.count(status)
        if status != 101:
            route.metrics.observe(took)
        caller = call.caller
        if status < 400:
            if route.quiet:
                return
            if self._sample < 1 and random.random() >= self._sample:  # noqa: S311 - no secret
                return
        self._log.info(
            "request",
            method=method,
            route=route.template,
            status=status,
            ms=round(took * 1000, 2),
            bytes=size,
            request_id=call.request_id,
            caller=caller.name if caller is not None else None,
        )

    def end(self, request: web.Request, response: web.StreamResponse) -> None:
        """Have the connection closed after the answer, where it is not for another request.

        One whose request has not come whole by now would have to be read on and on.
        """
        connection = connection_of(request)
        if not request.content.is_eof():
            connection.ending = True
        if connection.ending or connection.in_reserve or self._drain.draining:
            response.force_close()


def middleware_of(pipeline: RequestPipeline) -> Middleware:
    """The middleware that takes requests through ``pipeline``."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = perf_counter()
        call = request[CALL] = Call(request_id_of(request.headers), begun)
        route = pipeline.route(request)
        if route.quiet and hdrs.ORIGIN not in request.headers:
            return await _probe(pipeline, request, handler, call, route, begun)
        status = CLIENT_GONE
        size = 0
        structlog.contextvars.bind_contextvars(request_id=call.request_id)
        try:
            try:
                await pipeline.enter(request, call, route)
                if cors.is_preflight(request):
                    handler = cors.options
                if tracing.is_on():
                    response = await _traced(request, handler, call, route)
                else:
                    response = await handler(request)
                pipeline.check_answer(request, call, response)
            except Exception as error:
                if isinstance(error, WrongTokenError) and error.delay:
                    await asyncio.sleep(error.delay)
                response = pipeline.fail(request, call, error)
                drop_frames(error)
            status = response.status
            if isinstance(response, web.Response):
                body = response.body
                size = len(body) if isinstance(body, bytes) else 0
            else:
                size = response.body_length if response.prepared else 0
            pipeline.end(request, response)
            return response
        finally:
            pipeline.leave(request, call, route, status, size, begun)

    return middleware


async def _probe(
    pipeline: RequestPipeline,
    request: web.Request,
    handler: Handler,
    call: Call,
    route: _Route,
    begun: float,
) -> web.StreamResponse:
    """Answer a probe: counted only, unless it fails. There is nothing to check, and many come."""
    try:
        response = await handler(request)
    except Exception as error:
        response = pipeline.fail(request, call, error)
        drop_frames(error)
        pipeline.leave(request, call, route, response.status, 0, begun)
        pipeline.end(request, response)
        return response
    pipeline.end(request, response)
    route.metrics.count(response.status)
    route.metrics.observe(perf_counter() - begun)
    return response


async def _traced(
    request: web.Request, handler: Handler, call: Call, route: _Route
) -> web.StreamResponse:
    with tracing.span(
        route.span,
        "server",
        request.headers,
        http__request__method=request.method,
        http__route=route.template,
        operator__request_id=call.request_id,
    ) as span:
        response = await handler(request)
        span.set(http__response__status_code=response.status)
        return response


def _host(request: web.Request) -> str:
    """The host that was asked for; empty where the client names none, which HTTP/1.0 allows.
    aiohttp would look up this machine's name then, and the event loop would wait for it."""
    return request.host if hdrs.HOST in request.headers else ""


def _unsent() -> web.Response:
    """An answer that nobody gets, in place of an error: aiohttp would keep that, and the request
    with it, until the garbage collector comes."""
    return web.Response(status=CLIENT_GONE)


def _left(request: web.Request) -> bool:
    """True if the client has disconnected."""
    transport = request.transport
    return transport is None or transport.is_closing()
