"""CORS: the pages that may call from a browser, and the headers that let them (Fetch standard)."""

from __future__ import annotations

import re
from collections.abc import Collection

from aiohttp import web
from multidict import CIMultiDict

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import headers
from operator_svc.rest.routing import ROUTER

EXPOSED = ", ".join(
    (
        headers.REQUEST_ID,
        headers.CORRELATION_ID,
        "Retry-After",
        "Location",
        "Link",
        "ETag",
        "Preference-Applied",
        "RateLimit",
        "RateLimit-Policy",
        headers.SHOULD_RETRY,
    )
)
"""Answer headers that pages may read."""
ACCEPTED = ", ".join(
    (
        headers.TOKEN,
        "Authorization",
        "Content-Type",
        "Accept",
        headers.IDEMPOTENCY_KEY,
        "Prefer",
        "Last-Event-ID",
        headers.REQUEST_ID,
        headers.CORRELATION_ID,
        "If-None-Match",
    )
)
"""Request headers that pages may send, beside those that a preflight asks for."""
ALL_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "POST")
MAX_ASKED = 50
"""Headers that one preflight may ask for."""
_is_name = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}").fullmatch
PREFLIGHT_SECONDS = 600
"""Seconds that a browser may remember a preflight's answer."""


def check_origin(origin: str, host: str, allowed: Collection[str], *, own: bool) -> None:
    """Raise OperatorError(forbidden) for a page that may not call.

    ``own`` lets pages of this service itself in, at whatever name it is reached by (``host``).
    Only with tokens: a name that an attacker points at this machine brings none.
    """
    if own and host and origin.partition("://")[2] == host:
        return
    host_of, _, port = origin.rpartition(":")
    if origin in allowed or (port.isdecimal() and f"{host_of}:*" in allowed):
        return
    raise OperatorError(
        ErrorCode.FORBIDDEN,
        "this origin may not call: OPERATOR_ALLOWED_ORIGINS does not list it",
    )


def is_preflight(request: web.Request) -> bool:
    """True for a browser's question what it may send, which never brings the token."""
    return (
        request.method == "OPTIONS"
        and "Access-Control-Request-Method" in request.headers
        and "Origin" in request.headers
    )


async def options(request: web.Request) -> web.StreamResponse:
    """Answer OPTIONS: a browser's preflight, or a client that looks whether it is connected."""
    resource = request.match_info.route.resource
    # A page may ask for a path that is not there: it can read that only after this.
    known = request.app[ROUTER].methods(resource.canonical) if resource is not None else ALL_METHODS
    methods = ", ".join(known)
    if not is_preflight(request):
        return web.Response(status=204, headers={"Allow": methods})
    # SDKs in a page send headers of their own. The origin is judged, not what it may send: no
    # header changes what a caller may do but the token's.
    asked = request.headers.get("Access-Control-Request-Headers", "")
    more = [name for name in (part.strip() for part in asked.split(",")) if _is_name(name)]
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": ", ".join((ACCEPTED, *more[:MAX_ASKED])),
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
            "Vary": "Access-Control-Request-Method, Access-Control-Request-Headers",
        },
    )


def let_in(answer: CIMultiDict[str], origin: str) -> None:
    """Let the page of ``origin`` read the answer."""
    answer["Access-Control-Allow-Origin"] = origin
    answer["Access-Control-Expose-Headers"] = EXPOSED
    answer.add("Vary", "Origin")
