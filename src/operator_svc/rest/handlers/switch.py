"""Switch: changes of its configuration, feedback on its engines, and what that adds up to."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.protocol import switch as protocol
from operator_svc.protocol.ids import Cursor, SessionId
from operator_svc.rest import requests, responses
from operator_svc.rest.request_context import caller_of, require_operator

ADJUSTMENTS_LIMIT, ADJUSTMENTS_MOST = 50, 200
WINDOW = 86_400
"""Seconds of feedback that engines are ranked by (the published contract, engines)."""
WINDOW_MOST = 366 * 86_400

Window = Annotated[int, Meta(ge=1, le=WINDOW_MOST)]


async def add_adjustment(request: web.Request) -> web.StreamResponse:
    """Record a change of Switch; nothing is done to it yet."""
    caller = require_operator(request, "switch.adjustment.record")
    body = await requests.body(request, protocol.AdjustmentBody)
    row = await request.app[SERVICES].adjustments.record(caller, body)
    return responses.json(protocol.adjustment_answer(row), status=201)


async def apply(request: web.Request) -> web.StreamResponse:
    """Do a change on Switch."""
    caller = require_operator(request, "switch.adjustment.apply")
    adjustment_id = requests.row_id(request, "adjustment_id", ErrorCode.ADJUSTMENT_NOT_FOUND)
    row = await request.app[SERVICES].adjustments.apply(caller, adjustment_id)
    return responses.json(protocol.adjustment_answer(row))


async def revert(request: web.Request) -> web.StreamResponse:
    """Put back what was before a change."""
    caller = require_operator(request, "switch.adjustment.revert")
    adjustment_id = requests.row_id(request, "adjustment_id", ErrorCode.ADJUSTMENT_NOT_FOUND)
    row = await request.app[SERVICES].adjustments.revert(caller, adjustment_id)
    return responses.json(protocol.adjustment_answer(row))


async def adjustments(request: web.Request) -> web.StreamResponse:
    """A page of changes, newest first."""
    page = await request.app[SERVICES].adjustments.page(
        caller_of(request),
        session_id=requests.parameter(request, "session_id", SessionId),
        applied=requests.parameter(request, "applied", bool),
        limit=requests.limit(request, ADJUSTMENTS_LIMIT, ADJUSTMENTS_MOST),
        cursor=requests.parameter(request, "cursor", Cursor),
    )
    return responses.json(page)


async def add_feedback(request: web.Request) -> web.StreamResponse:
    """Keep feedback on an engine; Switch is told later."""
    body = await requests.body(request, protocol.FeedbackBody)
    answer = await request.app[SERVICES].feedback.record(caller_of(request), body)
    return responses.json(answer)


async def engines(request: web.Request) -> web.StreamResponse:
    """Engines, ranked by the feedback of a while."""
    window = requests.parameter(request, "window", Window)
    rankings = request.app[SERVICES].engine_rankings
    fresh = await rankings.get(WINDOW if window is None else window)
    return responses.json(fresh.value)


ROUTES = [
    web.post("/operator/switch/adjustment", add_adjustment),
    web.post("/operator/switch/adjustment/{adjustment_id}/apply", apply),
    web.post("/operator/switch/adjustment/{adjustment_id}/revert", revert),
    web.get("/operator/switch/adjustments", adjustments),
    web.post("/operator/switch/feedback", add_feedback),
    web.get("/operator/switch/engines", engines),
]
