"""Tool calls: recording one, ending a pending one, and listing those of a message."""

from __future__ import annotations

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.protocol.tool_calls import ToolCallBody, with_bare_result
from operator_svc.rest import requests, responses
from operator_svc.rest.docs import examples, schema_rules
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.routing import CURSOR, RouteTable, json, limit

route = RouteTable("tool calls")


@route(
    "POST",
    "/operator/tool/call",
    body=ToolCallBody,
    example=ToolCallBody(message_id=42, tool_name="list_modules", status="pending"),
    rules=schema_rules.TOOL_CALL,
    answers={201: json(examples.TOOL_CALL, "The record.")},
    errors=(
        ErrorCode.MESSAGE_NOT_FOUND,
        ErrorCode.TOOL_CALL_NOT_FOUND,
        ErrorCode.CONFLICT,
    ),
)
async def add_tool_call(request: web.Request) -> web.StreamResponse:
    """Record a tool call, or the end of one.

    With ``tool_call_id`` a pending call is finished.
    """
    body = await requests.body(request, ToolCallBody, with_bare_result)
    view = await request.app[SERVICES].tool_calls.record(caller_of(request), body)
    return responses.json(view, status=201)


@route(
    "GET",
    "/operator/message/{message_id}/tool-calls",
    parameters=(limit(50, 200), CURSOR),
    answers={200: json(examples.TOOL_CALLS, "A page of tool calls.")},
)
async def list_tool_calls(request: web.Request) -> web.StreamResponse:
    """List the tool calls of a message, oldest first."""
    page = await request.app[SERVICES].tool_calls.of_message(
        caller_of(request), requests.row_id(request, "message_id"), **requests.query(request)
    )
    return responses.json(page)
