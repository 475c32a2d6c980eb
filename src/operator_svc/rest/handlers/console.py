"""The console: a page that shows sessions, browser tasks and the system, for people.

It is made of static files that ask no other host for anything, and calls what any client calls.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.system import Me
from operator_svc.rest import responses, web_files
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.routing import RouteTable, json

ME_EXAMPLE = Me(name="default", role="operator", user_id=None)

route = RouteTable("system")
"""The call that the console needs beside those of all clients; it is there without the console."""
pages = RouteTable(None, auth="open")
"""The console itself, left out by ``OPERATOR_CONSOLE=off``."""


@route("GET", "/operator/me", answers={200: json(ME_EXAMPLE, "The caller.")})
async def get_me(request: web.Request) -> web.StreamResponse:
    """Get the name, role and user of the caller's token."""
    caller = caller_of(request)
    return responses.json(Me(name=caller.name, role=caller.role, user_id=caller.user_id))


@pages("GET", "/")
async def root(request: web.Request) -> web.StreamResponse:
    """Send browsers to the console."""
    if "text/html" not in request.headers.get("Accept", ""):
        raise OperatorError(ErrorCode.NOT_FOUND, "there is nothing at this address")
    prefix = request.app[SERVICES].settings.path_prefix
    # Without a prefix that is known, there may be one that the proxy takes away.
    return web.Response(
        status=302, headers={"Location": f"{prefix}/console" if prefix else "console"}
    )


@pages("GET", "/console")
async def page(request: web.Request) -> web.StreamResponse:
    """Show the console."""
    return web_files.answer(request, _files(), "index.html")


@pages("GET", "/console/{file}")
async def file(request: web.Request) -> web.StreamResponse:
    """Answer one of its files."""
    return web_files.answer(request, _files(), request.match_info["file"])


@pages("GET", "/console/client/{file}")
async def client_file(request: web.Request) -> web.StreamResponse:
    """Answer a file of the client for JavaScript."""
    return web_files.answer(request, _files(), f"client/{request.match_info['file']}")


@functools.lru_cache(maxsize=1)
def _files() -> Mapping[str, bytes]:
    console = web_files.read("operator_svc.rest.console")
    client = web_files.read("operator_svc.rest.console.client")
    return {**console, **{f"client/{name}": body for name, body in client.items()}}
