"""Sessions: their list, history, events, export and deletion."""

from __future__ import annotations

import asyncio
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.protocol.ids import Epoch, RowId, Seq
from operator_svc.rest import event_stream, requests, responses
from operator_svc.rest.docs import examples
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.routing import (
    CURSOR,
    EVENTS,
    JSON,
    NDJSON,
    OF_USER,
    Answer,
    Parameter,
    RouteTable,
    json,
    limit,
)
from operator_svc.services.chat.export import export as pieces_of

EXPORT_STALL = 60.0
"""Seconds that a client may take for one piece of an export before it is cut off."""

Words = Annotated[str, Meta(max_length=500)]


route = RouteTable("sessions")


@route(
    "GET",
    "/operator/session/{session_id}",
    parameters=(
        limit(200, 1000),
        Parameter("before", RowId, "Only messages before this one."),
    ),
    answers={200: json(examples.HISTORY, "The newest page, oldest message first.")},
)
async def get_session(request: web.Request) -> web.StreamResponse:
    """Get the history of a session."""
    page = await request.app[SERVICES].history.page(
        caller_of(request), requests.session_id(request), **requests.query(request)
    )
    return responses.json(page)


@route(
    "GET",
    "/operator/sessions",
    parameters=(
        OF_USER,
        Parameter(
            "q",
            Words,
            "Only sessions with a message that has all these words; the last may be a beginning.",
            default="",
        ),
        limit(50, 200),
        CURSOR,
    ),
    answers={200: json(examples.SESSIONS, "A page of sessions.")},
)
async def list_sessions(request: web.Request) -> web.StreamResponse:
    """List sessions, newest first."""
    query = requests.query(request)
    words = query.pop("q").strip()
    page = await request.app[SERVICES].sessions.page(
        caller_of(request), words=words or None, **query
    )
    return responses.json(page)


@route(
    "DELETE",
    "/operator/session/{session_id}",
    answers={204: Answer(meaning="The session is deleted.")},
)
async def delete_session(request: web.Request) -> web.StreamResponse:
    """Delete a session and all that belongs to it."""
    session_id = requests.session_id(request)
    await request.app[SERVICES].sessions.delete(caller_of(request), session_id)
    return web.Response(status=204)


@route(
    "GET",
    "/operator/session/{session_id}/export",
    answers={
        200: Answer(
            meaning="One record a line.", content={NDJSON: str}, headers=("Content-Disposition",)
        )
    },
)
async def export_session(request: web.Request) -> web.StreamResponse:
    """Export a whole session, as JSON Lines.

    The first line is the session (``"type": "session"``), then each message.
    """
    session_id = requests.session_id(request)
    services, caller = request.app[SERVICES], caller_of(request)
    services.byte_budget.check()
    session = await services.sessions.get(caller, session_id)
    response = web.StreamResponse()
    response.headers["Content-Type"] = "application/x-ndjson"
    name = session_id.replace(":", "_").lstrip(".") or "session"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.jsonl"'
    if request.method == "HEAD":
        return response
    async with services.clients.calling(caller, services.tokens):
        async for piece in pieces_of(services.history, session):
            if not response.prepared:  # what fails before the first piece is an ordinary error
                await response.prepare(request)
            await _write(request, response, piece)
    await response.write_eof()
    return response


async def _write(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Write a piece; raises ConnectionResetError where the client does not take it in time."""
    try:
        async with asyncio.timeout(EXPORT_STALL):
            await response.write(piece)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read") from None


@route(
    "GET",
    "/operator/session/{session_id}/events",
    parameters=(
        Parameter("after", Seq, "Only events after this number.", default=0),
        limit(100, 1000),
        Parameter("epoch", Epoch, "The epoch of the session in which `after` is a number."),
        Parameter(
            "Last-Event-ID",
            str,
            "The `id` of the last event received, sent by an `EventSource`.",
            "header",
        ),
    ),
    answers={
        200: Answer(
            meaning="A page of events, or the stream.",
            content={JSON: examples.EVENTS, EVENTS: None},
        )
    },
    errors=(ErrorCode.DRAINING,),
)
async def get_session_events(request: web.Request) -> web.StreamResponse:
    """Get the events of a session.

    With ``Accept: text/event-stream`` the response continues live, like the websocket
    (/asyncapi.json). ``Last-Event-ID`` or ``after``, with ``epoch``, set the place to resume from.
    """
    if requests.wants_events(request, None):
        return await event_stream.watch_session(request)
    session_id = requests.session_id(request)
    query = requests.query(request)
    del query["epoch"]  # whoever asks compares it with the answer's
    page = await request.app[SERVICES].history.events(caller_of(request), session_id, **query)
    return responses.json(page)
