"""Tool calls: recording one, ending a pending one, and those of a message."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.protocol import decoding, records
from operator_svc.rest import requests, responses
from operator_svc.rest.request_context import caller_of

TOOL_CALLS_LIMIT, TOOL_CALLS_MOST = 50, 200

Cursor = Annotated[str, Meta(min_length=1, max_length=200)]


async def add(request: web.Request) -> web.StreamResponse:
    """Record a tool call; with ``tool_call_id`` the end of a pending one."""
    raw = await requests.read_body(request)
    plain = decoding.loads(raw) if raw.strip() else {}
    fields = records.tool_call_fields(plain, request.query)
    body = decoding.convert(fields, records.ToolCallBody)
    view = await request.app[SERVICES].tool_calls.record(caller_of(request), body)
    return responses.json(view, status=201)


async def of_message(request: web.Request) -> web.StreamResponse:
    """A page of a message's tool calls, oldest first."""
    message_id = requests.row_id(request, "message_id", ErrorCode.MESSAGE_NOT_FOUND)
    page = await request.app[SERVICES].tool_calls.of_message(
        caller_of(request),
        message_id,
        limit=requests.limit(request, TOOL_CALLS_LIMIT, TOOL_CALLS_MOST),
        cursor=requests.parameter(request, "cursor", Cursor),
    )
    return responses.json(page)


ROUTES = [
    web.post("/operator/tool/call", add),
    web.get("/operator/message/{message_id}/tool-calls", of_message),
]
