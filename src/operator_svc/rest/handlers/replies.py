"""Replies: reading and stopping one."""

from __future__ import annotations

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.rest import requests, responses
from operator_svc.rest.docs import examples
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.routing import RouteTable, json

route = RouteTable("replies")


@route(
    "GET",
    "/operator/reply/{reply_id}",
    answers={200: json(examples.REPLY, "The reply, with its text so far.")},
)
async def get_reply(request: web.Request) -> web.StreamResponse:
    """Get a reply in its current state."""
    reply_id = requests.row_id(request, "reply_id")
    return responses.json(await request.app[SERVICES].replies.get(caller_of(request), reply_id))


@route(
    "POST",
    "/operator/reply/{reply_id}/cancel",
    answers={200: json(examples.REPLY, "The reply; one that had ended is unchanged.")},
)
async def cancel_reply(request: web.Request) -> web.StreamResponse:
    """Stop a reply, whichever process writes it."""
    reply_id = requests.row_id(request, "reply_id")
    return responses.json(await request.app[SERVICES].replies.cancel(caller_of(request), reply_id))
