"""Sessions: their history, the list of them, their events, export and deletion."""

from __future__ import annotations

import asyncio
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from operator_svc.context import SERVICES
from operator_svc.protocol.ids import Cursor, Epoch, RowId, Seq, UserId
from operator_svc.rest import event_stream, requests, responses
from operator_svc.rest.request_context import caller_of

HISTORY_LIMIT, HISTORY_MOST = 200, 1000
"""Messages of a page of history (api.md, HTTP)."""
SESSIONS_LIMIT, SESSIONS_MOST = 50, 200
EVENTS_LIMIT, EVENTS_MOST = 100, 1000
EXPORT_STALL = 60.0
"""Seconds that a client may take for one page of an export before it is cut off."""

Words = Annotated[str, Meta(max_length=500)]


async def history(request: web.Request) -> web.StreamResponse:
    """A page of a session's messages."""
    session_id = requests.session_id(request)
    limit = requests.limit(request, HISTORY_LIMIT, HISTORY_MOST)
    before = requests.parameter(request, "before", RowId)
    histories = request.app[SERVICES].histories
    page = await histories.page(caller_of(request), session_id, limit=limit, before=before)
    return responses.json(page)


async def sessions(request: web.Request) -> web.StreamResponse:
    """A page of sessions, newest first; with ``q`` those where a message has all its words."""
    words = requests.parameter(request, "q", Words)
    page = await request.app[SERVICES].histories.sessions(
        caller_of(request),
        user_id=requests.parameter(request, "user_id", UserId),
        words=words if words and words.strip() else None,
        limit=requests.limit(request, SESSIONS_LIMIT, SESSIONS_MOST),
        cursor=requests.parameter(request, "cursor", Cursor),
    )
    return responses.json(page)


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a session and all that belongs to it."""
    session_id = requests.session_id(request)
    await request.app[SERVICES].chats.delete(caller_of(request), session_id)
    return web.Response(status=204)


async def export(request: web.Request) -> web.StreamResponse:
    """The whole session as JSON Lines, read and sent page by page."""
    session_id = requests.session_id(request)
    histories = request.app[SERVICES].histories
    session = await histories.session(caller_of(request), session_id)
    response = web.StreamResponse()
    response.headers["Content-Type"] = "application/x-ndjson"
    name = session_id.replace(":", "_").lstrip(".") or "session"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.jsonl"'
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    async for page in histories.export(session):
        try:
            async with asyncio.timeout(EXPORT_STALL):
                await response.write(page)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client does not read") from None
    await response.write_eof()
    return response


async def events(request: web.Request) -> web.StreamResponse:
    """A page of a session's events; as an event stream, the session as it goes on."""
    if requests.wants_events(request, None) and request.method != "HEAD":
        return await event_stream.watch_session(request)
    session_id = requests.session_id(request)
    after = requests.parameter(request, "after", Seq)
    limit = requests.limit(request, EVENTS_LIMIT, EVENTS_MOST)
    requests.parameter(request, "epoch", Epoch)  # whoever asks compares it with the answer's
    page = await request.app[SERVICES].histories.events(
        caller_of(request), session_id, after=after or 0, limit=limit
    )
    return responses.json(page)


ROUTES = [
    web.get("/operator/sessions", sessions),
    web.get("/operator/session/{session_id}", history),
    web.delete("/operator/session/{session_id}", delete),
    web.get("/operator/session/{session_id}/export", export),
    web.get("/operator/session/{session_id}/events", events),
]
