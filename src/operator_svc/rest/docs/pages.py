"""The published documents, and the page that shows them. Made when they are first asked for."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib.resources import files

import msgspec
from aiohttp import web
from aiohttp.helpers import ETag

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.problems import kind_of
from operator_svc.rest import responses


async def openapi(request: web.Request) -> web.StreamResponse:
    """OpenAPI of all calls."""
    return _document(request, "openapi")


async def asyncapi(request: web.Request) -> web.StreamResponse:
    """AsyncAPI of the websocket."""
    return _document(request, "asyncapi")


async def docs(request: web.Request) -> web.StreamResponse:
    """A page that reads both documents; it asks no other host for anything."""
    page, policy = _page()
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy}
    return _cached(request, page, headers)


async def error(request: web.Request) -> web.StreamResponse:
    """What an error code stands for: where the ``type`` of a problem leads."""
    code = ErrorCode.named(request.match_info["code"])
    if code is None:
        raise OperatorError(ErrorCode.NOT_FOUND, "there is no such error")
    return responses.json(kind_of(code))


def _document(request: web.Request, name: str) -> web.Response:
    server = request.app[SERVICES].settings.public_url
    return _cached(request, _made(name, server), {"Content-Type": "application/json"})


def _cached(request: web.Request, body: bytes, headers: dict[str, str]) -> web.Response:
    """An answer that may be kept, if it is asked for again each time whether it still holds."""
    etag = hashlib.sha256(body).hexdigest()[:32]
    headers = {**headers, "ETag": f'"{etag}"', "Cache-Control": "no-cache"}
    known = request.if_none_match or ()
    if known == (ETag("*"),) or any(tag.value == etag for tag in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers)


@functools.lru_cache(maxsize=4)
def _made(name: str, server: str) -> bytes:
    # Imported here, since a server that nobody asks for its documents need not have them.
    from operator_svc.rest.docs import asyncapi, openapi

    make = openapi.document if name == "openapi" else asyncapi.document
    return msgspec.json.encode(make(server))


@functools.lru_cache(maxsize=1)
def _page() -> tuple[bytes, str]:
    """The page, and the policy that lets run its own script and style and nothing else."""
    text = files("operator_svc.rest.docs").joinpath("docs.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; connect-src 'self'; script-src {_hash(text, 'script')}; "
        f"style-src {_hash(text, 'style')}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return text.encode(), policy


def _hash(text: str, tag: str) -> str:
    found = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    assert found is not None, f"docs.html has no {tag}"
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    return f"'sha256-{digest}'"


ROUTES = [
    web.get("/openapi.json", openapi),
    web.get("/asyncapi.json", asyncapi),
    web.get("/docs", docs),
    web.get("/errors/{code}", error),
]
