"""Answers: structs to JSON bytes, and the headers that every answer has."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import ETag, rfc822_formatted_time
from multidict import CIMultiDict, istr

from operator_svc.context import SERVICES
from operator_svc.protocol.headers import CORRELATION_ID, REQUEST_ID
from operator_svc.rest.cors import let_in
from operator_svc.rest.request_context import CALL, Call

_encode = msgspec.json.Encoder().encode
_CACHE, _CSP = istr("Cache-Control"), istr("Content-Security-Policy")
_ID, _TWIN = istr(REQUEST_ID), istr(CORRELATION_ID)
_NOSNIFF, _REFERRER = istr("X-Content-Type-Options"), istr("Referrer-Policy")
_SERVER = istr("Server")
NO_SCRIPTS = "default-src 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of answers that are data, should a browser show one as a page."""
SERVER = "operator"
"""The header Server of every response, which reveals no versions."""
_JSON = CIMultiDict(
    {
        "Content-Type": "application/json",
        _SERVER: SERVER,
        _NOSNIFF: "nosniff",
        _REFERRER: "no-referrer",
        _CSP: NO_SCRIPTS,
        _CACHE: "no-store",
    }
)
_PLAIN_HEAD = "".join(
    ["HTTP/1.1 200 OK\r\n", *(f"{name}: {value}\r\n" for name, value in _JSON.items())]
)


def json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """``value`` (a struct, or plain data) as a JSON answer."""
    response = JsonResponse(status=status, body=_encode(value), headers=_JSON)
    if headers:
        response.headers.update(headers)
    return response


def own_path(request: web.Request, path: str) -> str:
    """``path``, one of ours, as clients reach it: under the path of OPERATOR_URL."""
    return request.app[SERVICES].settings.path_prefix + path


def encoded(body: bytes) -> web.Response:
    """A JSON response with encoded bytes."""
    return JsonResponse(body=body, headers=_JSON)


class JsonResponse(web.Response):
    """A whole answer of JSON.

    Nearly all have the same head but for a few lines, which are put into it as text: a table of
    headers is not filled, signalled and written out for each. One whose head has anything else is
    sent as aiohttp does.
    """

    _request: web.BaseRequest | None = None
    _head = ""

    @property
    def prepared(self) -> bool:
        """True once its head is made."""
        return self._request is not None or super().prepared

    @property
    def keep_alive(self) -> bool | None:
        """True where the connection stays for another request."""
        return True if self._request is not None else super().keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Make the head, which ``write_eof`` sends with the body."""
        call = request.get(CALL)
        if call is None or call.origin is not None or not self._is_plain(request):
            return await super().prepare(request)
        assert isinstance(self.body, bytes)
        rates = "".join(f"{name}: {value}\r\n" for name, value in _rates(call))
        self._request = request
        self._head = (
            f"{_PLAIN_HEAD}{_ID}: {call.request_id}\r\n{_TWIN}: {call.request_id}\r\n{rates}"
            f"Content-Length: {len(self.body)}\r\nDate: {rfc822_formatted_time()}\r\n\r\n"
        )
        return request.writer

    def _is_plain(self, request: web.BaseRequest) -> bool:
        return (
            self.status == 200
            and request.keep_alive
            and self.keep_alive is not False
            and request.version == HttpVersion11
            and request.method != hdrs.METH_HEAD
            and self.headers == _JSON
        )

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it."""
        if self._request is None:
            await super().write_eof(data)
        else:
            assert isinstance(self.body, bytes)
            await self._request.writer.write_eof(self._head.encode() + self.body)


async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set what every answer has; runs as a signal just before the head of one is sent, so
    streams and failures have it too."""
    headers = response.headers
    call = request.get(CALL)
    if call is not None:
        headers[_ID] = headers[_TWIN] = call.request_id
        if call.origin is not None:
            let_in(headers, call.origin)
        headers.update(_rates(call))
    if headers.get(_SERVER) == SERVER:  # those of ``_JSON``
        return
    headers[_SERVER] = SERVER
    if response.status == 101:
        return
    headers[_NOSNIFF] = "nosniff"
    headers[_REFERRER] = "no-referrer"
    if _CSP not in headers:
        headers[_CSP] = NO_SCRIPTS
    if _CACHE not in headers:
        headers[_CACHE] = "no-store"


def _rates(call: Call) -> tuple[tuple[str, str], ...]:
    """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers): ``q`` calls are
    allowed in ``w`` seconds, ``r`` of them are left, and in ``t`` seconds all of them again."""
    if not call.rates:
        return ()
    policies, states = [], []
    for name, limit, key in call.rates:
        left = limit.left(key)
        refill = math.ceil((limit.rate - left) * limit.per / limit.rate)
        policies.append(f'"{name}";{limit.policy}')
        states.append(f'"{name}";r={math.floor(left)};t={refill}')
    return ("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(states))


@lru_cache(maxsize=64)
def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def cached(request: web.Request, body: bytes, headers: dict[str, str]) -> web.Response:
    """A response that clients may cache and revalidate each time, by its ETag."""
    etag = _etag(body)
    headers = {**headers, "ETag": f'"{etag}"', "Cache-Control": "no-cache"}
    known = request.if_none_match or ()
    if known == (ETag("*"),) or any(tag.value == etag for tag in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers)
