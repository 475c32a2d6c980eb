"""Tool calls: recording one, ending a pending one, and listing those of a message."""

from __future__ import annotations

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.protocol.ids import Cursor
from operator_svc.protocol.tool_calls import ToolCallBody, with_bare_result
from operator_svc.rest import requests, responses
from operator_svc.rest.docs import examples, schema_rules
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.routing import BAD_BODY, BAD_QUERY, CURSOR, RouteTable, json, limit

TOOL_CALLS_LIMIT, TOOL_CALLS_MOST = 50, 200


route = RouteTable()


@route(
    "POST",
    "/operator/tool/call",
    tag="tool calls",
    body=ToolCallBody,
    example=ToolCallBody(message_id=42, tool_name="list_modules", status="pending"),
    rules=schema_rules.TOOL_CALL,
    answers={201: json(examples.TOOL_CALL, "The record.")},
    errors=(
        *BAD_BODY,
        ErrorCode.MESSAGE_NOT_FOUND,
        ErrorCode.TOOL_CALL_NOT_FOUND,
        ErrorCode.CONFLICT,
    ),
)
async def add(request: web.Request) -> web.StreamResponse:
    """Record a tool call, or the end of one.

    With ``tool_call_id`` a pending call is finished.
    """
    body = await requests.body(request, ToolCallBody, with_bare_result)
    view = await request.app[SERVICES].tool_calls.record(caller_of(request), body)
    return responses.json(view, status=201)


@route(
    "GET",
    "/operator/message/{message_id}/tool-calls",
    tag="tool calls",
    parameters=(limit(TOOL_CALLS_LIMIT, TOOL_CALLS_MOST), CURSOR),
    answers={200: json(examples.TOOL_CALLS, "A page of them.")},
    errors=(*BAD_QUERY, ErrorCode.MESSAGE_NOT_FOUND),
)
async def of_message(request: web.Request) -> web.StreamResponse:
    """The tool calls of a message, oldest first."""
    message_id = requests.row_id(request, "message_id", ErrorCode.MESSAGE_NOT_FOUND)
    page = await request.app[SERVICES].tool_calls.of_message(
        caller_of(request),
        message_id,
        limit=requests.limit(request, TOOL_CALLS_LIMIT, TOOL_CALLS_MOST),
        cursor=requests.parameter(request, "cursor", Cursor),
    )
    return responses.json(page)
