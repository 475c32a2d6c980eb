"""Tool calls: recording one, ending a pending one, and those of a message."""

from __future__ import annotations

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.protocol.ids import Cursor
from operator_svc.protocol.tool_calls import ToolCallBody, with_bare_result
from operator_svc.rest import requests, responses
from operator_svc.rest.request_context import caller_of

TOOL_CALLS_LIMIT, TOOL_CALLS_MOST = 50, 200


async def add(request: web.Request) -> web.StreamResponse:
    """Record a tool call; with ``tool_call_id`` the end of a pending one."""
    body = await requests.body(request, ToolCallBody, with_bare_result)
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
