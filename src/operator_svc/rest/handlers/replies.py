"""Replies: one as it stands, and stopping it."""

from __future__ import annotations

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.rest import requests, responses
from operator_svc.rest.request_context import caller_of


async def reply(request: web.Request) -> web.StreamResponse:
    """A reply, with its text so far where it is being written."""
    reply_id = requests.row_id(request, "reply_id", ErrorCode.REPLY_NOT_FOUND)
    view = await request.app[SERVICES].chats.reply(caller_of(request), reply_id)
    return responses.json(view)


async def cancel(request: web.Request) -> web.StreamResponse:
    """Stop a reply, whichever process writes it; one that has ended stays as it is."""
    reply_id = requests.row_id(request, "reply_id", ErrorCode.REPLY_NOT_FOUND)
    view = await request.app[SERVICES].chats.cancel(caller_of(request), reply_id)
    return responses.json(view)


ROUTES = [
    web.get("/operator/reply/{reply_id}", reply),
    web.post("/operator/reply/{reply_id}/cancel", cancel),
]
