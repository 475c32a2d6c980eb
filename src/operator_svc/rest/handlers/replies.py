"""Replies: reading one as it stands, and stopping it."""

from __future__ import annotations

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.rest import requests, responses
from operator_svc.rest.docs import examples
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.routing import RouteTable, json

route = RouteTable()


@route(
    "GET",
    "/operator/reply/{reply_id}",
    tag="replies",
    answers={200: json(examples.REPLY, "Its text so far.")},
    errors=(ErrorCode.REPLY_NOT_FOUND,),
)
async def reply(request: web.Request) -> web.StreamResponse:
    """A reply as it stands."""
    view = await request.app[SERVICES].replies.get(caller_of(request), _reply_id(request))
    return responses.json(view)


@route(
    "POST",
    "/operator/reply/{reply_id}/cancel",
    tag="replies",
    answers={200: json(examples.REPLY, "The reply; one that had ended stays as it was.")},
    errors=(ErrorCode.REPLY_NOT_FOUND,),
)
async def cancel(request: web.Request) -> web.StreamResponse:
    """Stop a reply, whichever process writes it."""
    view = await request.app[SERVICES].replies.cancel(caller_of(request), _reply_id(request))
    return responses.json(view)


def _reply_id(request: web.Request) -> int:
    return requests.row_id(request, "reply_id", ErrorCode.REPLY_NOT_FOUND)
