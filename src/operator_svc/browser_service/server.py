"""The HTTP front of the browser service: three calls, and every failure a problem."""

from __future__ import annotations

import hmac
import math
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web

from operator_svc import __version__
from operator_svc.browser_service.bodies import MAX_BODY, decode_request
from operator_svc.browser_service.service import BrowserService
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.settings import BrowserSettings

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOKEN_HEADER = "X-VX11-Token"  # noqa: S105 (a header's name)

SERVICE = web.AppKey("service", BrowserService)
SETTINGS = web.AppKey("settings", BrowserSettings)

_STATUS_CODES = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.PAYLOAD_TOO_LARGE,
}


def make_app(settings: BrowserSettings, service: BrowserService) -> web.Application:
    """The application around a service that was started; the caller closes the service."""
    app = web.Application(middlewares=[_problems, _authenticated], client_max_size=MAX_BODY)
    app[SETTINGS] = settings
    app[SERVICE] = service
    app.router.add_post("/navigate", navigate)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    return app


async def navigate(request: web.Request) -> web.Response:
    """``POST /navigate``: open a page, answer what came of it."""
    if request.content_type != "application/json":
        raise OperatorError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    wanted = decode_request(await request.read())
    visit = await request.app[SERVICE].visit(wanted)
    return _json(msgspec.json.encode(visit))


async def health(request: web.Request) -> web.Response:
    """``GET /health``: whether pages can be opened, and how busy the service is."""
    service = request.app[SERVICE]
    chromium = service.keeper.current
    up = chromium is not None and not chromium.died.is_set()
    body = {
        "status": "ok" if up else "unavailable",
        "browser": f"Chromium {chromium.version}" if chromium is not None and up else None,
        "version": __version__,
        "pages_open": service.slots.taken,
        "queue_length": service.slots.waiting,
    }
    return _json(msgspec.json.encode(body), 200 if up else 503)


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
        token = request.headers.get(TOKEN_HEADER)
        if token is None:
            raise OperatorError(ErrorCode.AUTH_REQUIRED, f"send a token in {TOKEN_HEADER}")
        given = token.encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, settings.token.encode()):
            raise OperatorError(ErrorCode.FORBIDDEN, "the token is not the right one")
    return await handler(request)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except OperatorError as error:
        return _problem(error)
    except web.HTTPException as error:
        code = _STATUS_CODES.get(error.status)
        if code is None:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        detail = f"{request.method} {request.path} is not served"
        if code is ErrorCode.PAYLOAD_TOO_LARGE:
            detail = f"a body has at most {MAX_BODY} bytes"
        return _problem(OperatorError(code, detail, headers=headers))
    except ConnectionError:
        raise
    except Exception as error:  # whatever it is, the client gets a problem and no traceback
        request_id = uuid.uuid4().hex
        log.error("request failed", request_id=request_id, exc_info=error)
        return _problem(OperatorError(ErrorCode.INTERNAL_ERROR, "see the log"), request_id)


def _problem(error: OperatorError, request_id: str | None = None) -> web.Response:
    """``error`` as RFC 9457 says it, with what old clients of VX11 read."""
    code = error.code
    body: dict[str, Any] = {
        "type": f"/errors/{code}",
        "title": code.summary,
        "status": code.status,
        "detail": error.detail,
        "request_id": request_id or uuid.uuid4().hex,
        "error": str(code),
        "status_code": code.status,
        **error.extra,
    }
    if error.errors is not None:
        body["errors"] = error.errors
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return _json(msgspec.json.encode(body), code.status, "application/problem+json", headers)


def _json(
    body: bytes,
    status: int = 200,
    kind: str = "application/json",
    headers: dict[str, str] | None = None,
) -> web.Response:
    return web.Response(body=body, status=status, headers={**(headers or {}), "Content-Type": kind})
