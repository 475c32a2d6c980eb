"""Switch: adjustments of its configuration, feedback on its engines, and their ranking."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.protocol.switch import AdjustmentBody, FeedbackBody, adjustment_answer
from operator_svc.rest import requests, responses
from operator_svc.rest.docs import examples
from operator_svc.rest.request_context import caller_of, require_operator
from operator_svc.rest.routing import (
    CURSOR,
    OF_SESSION,
    OF_USER,
    SWITCH_FAILS,
    Parameter,
    RouteTable,
    json,
    limit,
)

WINDOW = 86_400
"""Seconds of feedback that engines are ranked by (the published contract, engines)."""
WINDOW_MOST = 366 * 86_400

Window = Annotated[int, Meta(ge=1, le=WINDOW_MOST)]


CHANGE_FAILS = (
    ErrorCode.CONFLICT,
    *SWITCH_FAILS,
    ErrorCode.DRAINING,
)
"""The errors of what changes Switch's configuration by an adjustment."""

route = RouteTable("switch")


@route(
    "POST",
    "/operator/switch/adjustment",
    body=AdjustmentBody,
    example=AdjustmentBody(after_config={"mode": "ECO"}, reason="the laptop runs on its battery"),
    answers={201: json(examples.ADJUSTMENT, "The record.")},
    errors=(ErrorCode.SESSION_NOT_FOUND, ErrorCode.MESSAGE_NOT_FOUND, *SWITCH_FAILS),
)
async def add_adjustment(request: web.Request) -> web.StreamResponse:
    """Record an adjustment of Switch.

    Nothing is done to Switch before it is applied.
    """
    caller = require_operator(request, "switch.adjustment.record")
    body = await requests.body(request, AdjustmentBody)
    row = await request.app[SERVICES].adjustments.record(caller, body)
    return responses.json(adjustment_answer(row), status=201)


@route(
    "POST",
    "/operator/switch/adjustment/{adjustment_id}/apply",
    answers={200: json(examples.ADJUSTMENT, "The applied adjustment.")},
    errors=CHANGE_FAILS,
)
async def apply_adjustment(request: web.Request) -> web.StreamResponse:
    """Apply an adjustment."""
    caller = require_operator(request, "switch.adjustment.apply")
    adjustment_id = requests.row_id(request, "adjustment_id")
    row = await request.app[SERVICES].adjustments.apply(caller, adjustment_id)
    return responses.json(adjustment_answer(row))


@route(
    "POST",
    "/operator/switch/adjustment/{adjustment_id}/revert",
    answers={200: json(examples.ADJUSTMENT, "The reverted adjustment.")},
    errors=CHANGE_FAILS,
)
async def revert_adjustment(request: web.Request) -> web.StreamResponse:
    """Revert an adjustment: restore the configuration from before it."""
    caller = require_operator(request, "switch.adjustment.revert")
    adjustment_id = requests.row_id(request, "adjustment_id")
    row = await request.app[SERVICES].adjustments.revert(caller, adjustment_id)
    return responses.json(adjustment_answer(row))


@route(
    "GET",
    "/operator/switch/adjustments",
    parameters=(
        OF_SESSION,
        OF_USER,
        Parameter(
            "applied", bool, "Only adjustments that are applied (`true`) or are not (`false`)."
        ),
        limit(50, 200),
        CURSOR,
    ),
    answers={200: json(examples.ADJUSTMENTS, "A page of adjustments.")},
)
async def list_adjustments(request: web.Request) -> web.StreamResponse:
    """List adjustments of Switch, newest first."""
    service = request.app[SERVICES].adjustments
    return responses.json(await service.page(caller_of(request), **requests.query(request)))


@route(
    "POST",
    "/operator/switch/feedback",
    body=FeedbackBody,
    example=FeedbackBody(
        engine="hermes",
        success=True,
        latency_ms=812,
        tokens_used=34,
        session_id="desk",
        message_id=12,
    ),
    answers={200: json(examples.FEEDBACK, "The feedback is stored; Switch may receive it later.")},
    errors=(
        ErrorCode.FORBIDDEN,
        ErrorCode.SESSION_NOT_FOUND,
        ErrorCode.MESSAGE_NOT_FOUND,
        ErrorCode.CONFLICT,
    ),
)
async def add_feedback(request: web.Request) -> web.StreamResponse:
    """Give feedback on the engine of a reply.

    A second one replaces the first. Without `message_id` it counts for `engine`, and needs the role
    operator.
    """
    body = await requests.body(request, FeedbackBody)
    answer = await request.app[SERVICES].feedback.record(caller_of(request), body)
    return responses.json(answer)


@route(
    "GET",
    "/operator/switch/engines",
    parameters=(
        Parameter("window", Window, "Age in seconds up to which feedback counts.", default=WINDOW),
    ),
    answers={200: json(examples.ENGINES, "The ranking.")},
)
async def list_engines(request: web.Request) -> web.StreamResponse:
    """List engines, best first."""
    fresh = await request.app[SERVICES].engine_rankings.get(**requests.query(request))
    return responses.json(fresh.value)
