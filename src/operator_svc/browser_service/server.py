"""HTTP interface of the browser service: three calls; failures are problem details."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web

from operator_svc import __version__
from operator_svc.browser_service.service import BrowserService
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import headers, problems
from operator_svc.protocol.decoding import decode
from operator_svc.protocol.navigate import NavigateRequest, checked_url
from operator_svc.settings import BrowserSettings

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY = 256 * 1024
"""Largest body of a request, in bytes."""

SERVICE = web.AppKey("service", BrowserService)
SETTINGS = web.AppKey("settings", BrowserSettings)


def make_app(settings: BrowserSettings, service: BrowserService) -> web.Application:
    """Return the application of a started service; the caller closes the service."""
    app = web.Application(middlewares=[_problems, _authenticated], client_max_size=MAX_BODY)
    app[SETTINGS] = settings
    app[SERVICE] = service
    app.router.add_post("/navigate", navigate)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    return app


async def navigate(request: web.Request) -> web.Response:
    """``POST /navigate``: open a page and return its content."""
    if request.content_type != "application/json":
        raise OperatorError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    if headers.is_compressed(request.headers.get("Content-Encoding")):
        raise OperatorError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "the body must not be compressed")
    page = decode(await request.read(), NavigateRequest)
    page = msgspec.structs.replace(page, url=checked_url(page.url))
    visit = await request.app[SERVICE].visit(page)
    return _json(visit)


async def health(request: web.Request) -> web.Response:
    """``GET /health``: state of Chromium and of the queue; 503 while no page can be opened."""
    service = request.app[SERVICE]
    running = service.pool.running
    body = {
        "status": "ok" if running else "unavailable",
        "browser": f"Chromium {running[0].version}" if running else None,
        "version": __version__,
        "pages_open": service.queue.in_use,
        "queue_length": service.queue.waiting,
    }
    return _json(body, 200 if running else 503)


async def metrics(request: web.Request) -> web.Response:
    """``GET /metrics``, in Prometheus' text format."""
    return web.Response(
        body=request.app[SERVICE].metrics.render(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


@web.middleware
async def _authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    settings = request.app[SETTINGS]
    is_open = request.path in ("/health", "/metrics")
    if settings.auth == "token" and not is_open:
        token = request.headers.get(headers.TOKEN)
        if token is None:
            raise OperatorError(ErrorCode.AUTH_REQUIRED, f"send a token in {headers.TOKEN}")
        given = token.encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, settings.token.encode()):
            raise OperatorError(ErrorCode.FORBIDDEN, "the token is wrong")
    return await handler(request)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except OperatorError as error:
        return _problem(error)
    except web.HTTPException as error:
        code = problems.CODES.get(error.status)
        if code is None:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        detail = f"{request.method} {request.path} is not served"
        if code is ErrorCode.PAYLOAD_TOO_LARGE:
            detail = f"a body has at most {MAX_BODY} bytes"
        return _problem(OperatorError(code, detail, headers=allow))
    except ConnectionError:
        raise
    except Exception as error:  # a bug: the client gets a problem, the log the traceback
        request_id = uuid.uuid4().hex
        log.error("request failed", request_id=request_id, exc_info=error)
        return _problem(OperatorError(ErrorCode.INTERNAL_ERROR, "see the log"), request_id)


def _problem(error: OperatorError, request_id: str | None = None) -> web.Response:
    answer = problems.answer(error, request_id or uuid.uuid4().hex)
    return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


def _json(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json")
