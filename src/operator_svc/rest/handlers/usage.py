"""Usage: tokens of replies by day, token, user or model."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from operator_svc.context import SERVICES
from operator_svc.protocol.usage import Dimension
from operator_svc.rest import requests, responses
from operator_svc.rest.docs import examples
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.routing import CURSOR, Parameter, RouteTable, json

MOST_KEYS = 1000

route = RouteTable("system")


@route(
    "GET",
    "/operator/usage",
    parameters=(
        Parameter("from", date, "The first day, in UTC; 30 days up to the last one if not given."),
        Parameter("to", date, "The last day, in UTC; today if not given."),
        Parameter("by", Dimension, "The dimension of the counts.", default="day"),
        Parameter(
            "limit",
            Annotated[int, Meta(ge=1, le=MOST_KEYS)],
            f"Keys of a page; {MOST_KEYS} if not given.",
            default=MOST_KEYS,
        ),
        # A cursor holds a name, of up to 200 characters.
        Parameter("cursor", Annotated[str, Meta(min_length=1, max_length=1100)], CURSOR.meaning),
    ),
    answers={200: json(examples.USAGE, "A page of counts.")},
)
async def get_usage(request: web.Request) -> web.StreamResponse:
    """Sum the tokens that replies used.

    The upstream's own counts, of replies that have ended. The role operator sees all of them, a
    token bound to a user those of that user, and any other token its own. Ordered by `key`.
    """
    asked = requests.query(request)
    return responses.json(
        await request.app[SERVICES].usage.page(
            caller_of(request), first=asked.pop("from"), last=asked.pop("to"), **asked
        )
    )
