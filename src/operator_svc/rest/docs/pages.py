"""The published documents, and the page that shows them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import msgspec
from aiohttp import web

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.problems import kind_of
from operator_svc.rest import responses, web_files
from operator_svc.rest.docs import examples
from operator_svc.rest.routing import JSON, Answer, Operation, RouteTable, json


class Documents:
    """Both documents of an application, made when they are first asked for."""

    def __init__(self, operations: Iterable[Operation], server: str) -> None:
        self._operations = tuple(operations)
        self._server = server

    # Imported late: a server that nobody asks for its documents need not have them.

    @functools.cached_property
    def openapi(self) -> bytes:
        """OpenAPI of all calls, as JSON."""
        from operator_svc.rest.docs import openapi

        return msgspec.json.encode(openapi.document(self._operations, self._server))

    @functools.cached_property
    def asyncapi(self) -> bytes:
        """AsyncAPI of the websocket, as JSON."""
        from operator_svc.rest.docs import asyncapi

        return msgspec.json.encode(asyncapi.document(self._server))


DOCUMENTS: web.AppKey[Documents] = web.AppKey("documents", Documents)

route = RouteTable("machines", auth="open")
files = RouteTable(None, auth="open")
"""Files of the page, which the documents do not describe."""


@route(
    "GET",
    "/openapi.json",
    answers={200: Answer(meaning="OpenAPI 3.1.", content={JSON: dict})},
)
async def get_openapi(request: web.Request) -> web.StreamResponse:
    """Get the OpenAPI document, which is this one."""
    return responses.cached(request, request.app[DOCUMENTS].openapi, {"Content-Type": JSON})


@route(
    "GET",
    "/asyncapi.json",
    answers={200: Answer(meaning="AsyncAPI 3.", content={JSON: dict})},
)
async def get_asyncapi(request: web.Request) -> web.StreamResponse:
    """Get the AsyncAPI document, which describes the websocket."""
    return responses.cached(request, request.app[DOCUMENTS].asyncapi, {"Content-Type": JSON})


@route(
    "GET",
    "/docs",
    answers={200: Answer(meaning="The page.", content={"text/html": str})},
)
async def get_docs(request: web.Request) -> web.StreamResponse:
    """Show both documents as a page, with a form to try each call."""
    return web_files.answer(request, _files(), "index.html")


@files("GET", "/docs/{file}")
async def get_docs_file(request: web.Request) -> web.StreamResponse:
    """Answer a file of the page."""
    return web_files.answer(request, _files(), request.match_info["file"])


@route(
    "GET",
    "/errors/{code}",
    answers={200: json(examples.ERROR_KIND, "The error.")},
    errors=(ErrorCode.NOT_FOUND,),
)
async def get_error_kind(request: web.Request) -> web.StreamResponse:
    """Explain an error code."""
    code = ErrorCode.named(request.match_info["code"])
    if code is None:
        raise OperatorError(ErrorCode.NOT_FOUND, "there is no such error")
    return responses.json(kind_of(code))


@functools.lru_cache(maxsize=1)
def _files() -> Mapping[str, bytes]:
    return web_files.read("operator_svc.rest.docs.page")
