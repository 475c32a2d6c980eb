"""Parts that the calls of OpenAI's protocols share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web

from operator_svc.context import SERVICES, Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.protocol import openai, openai_answers
from operator_svc.rest import requests
from operator_svc.rest.reply_answer import ReplyAnswer
from operator_svc.services.chat.foreground import Attended

A = TypeVar("A", bound=ReplyAnswer)

ATTEMPT = "x-stainless-retry-count"
"""The number of attempts that an SDK of OpenAI's has made before this one."""


async def known_models(request: web.Request) -> dict[str, openai_answers.Model]:
    """The models by name, the one first that leaves the choice."""
    known = request.app[SERVICES].models
    listed = {openai.ANY_MODEL: known.started, **await known.known()}
    return {name: openai_answers.Model(id=name, created=since) for name, since in listed.items()}


async def check_model(request: web.Request, name: str | None) -> None:
    """Raise OperatorError(model_not_found) for a model that is not listed."""
    if name not in (None, openai.ANY_MODEL) and name not in await known_models(request):
        raise no_model(str(name))


def no_model(name: str) -> OperatorError:
    """The failure of a model that is not there."""
    return OperatorError(
        ErrorCode.MODEL_NOT_FOUND,
        f"there is no model {name[:200]!r}; /v1/models lists those that there are",
        errors=[{"field": "model", "reason": "there is no such model"}],
    )


async def intent_key(
    request: web.Request, caller: Caller, user_id: str | None, session_id: str | None, raw: bytes
) -> str:
    """The idempotency key of a call: the one that it brings, else that of its intent.

    Raises OperatorError: invalid_parameter, forbidden, database_unavailable.
    """
    return requests.idempotency_key(request) or await request.app[SERVICES].intents.key(
        caller,
        user_id,
        request.path,
        session_id or "",
        raw,
        repeated=request.headers.get(ATTEMPT, "0") not in ("", "0"),
    )


async def answer(
    services: Services,
    caller: Caller,
    attended: Attended,
    begin: Callable[[], A],
    work: Callable[[A], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Answer a call for a reply."""
    services.foreground.attend(attended)
    early = True
    try:
        stream = begin()
        try:
            return await show(services, stream, work)
        finally:
            early = not stream.ended
    finally:
        await services.foreground.release(caller, attended, early=early)


async def show(
    services: Services, stream: A, work: Callable[[A], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer with what ``work`` makes of a stream, which counts as a client meanwhile."""
    services.clients.enter(stream)
    services.clients.admit(stream)  # the chat is accepted, so it is answered in any case
    try:
        return await work(stream)
    finally:
        services.clients.leave(stream)
