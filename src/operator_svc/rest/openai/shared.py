"""Parts that the calls of OpenAI's protocols share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeVar

import msgspec
from aiohttp import web
from multidict import istr

from operator_svc.context import SERVICES, Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.protocol import openai, openai_answers
from operator_svc.protocol.chat import Chat
from operator_svc.protocol.intents import Attempt, Intent, intent_key, renewal_of
from operator_svc.rest import requests
from operator_svc.rest.reply_answer import ReplyAnswer
from operator_svc.rest.request_context import CALL, caller_of
from operator_svc.rest.server.connections import connection_of
from operator_svc.rest.whole_reply import WholeReply
from operator_svc.services.chat.foreground import Attended

A = TypeVar("A", ReplyAnswer, WholeReply)

ATTEMPT = istr("x-stainless-retry-count")
"""The number of attempts that an SDK of OpenAI's has made before this one."""
COUNT = re.compile("[0-9]{1,4}")


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


async def keyed(
    request: web.Request, chat: Chat, session_id: str | None, raw: bytes, *, goes_on: bool
) -> tuple[Chat, int]:
    """The chat with its idempotency key, and the number of this attempt to have it.

    Raises OperatorError(invalid_parameter).
    """
    key, renewal, number = await intent_of(request, session_id or "", raw)
    chat = msgspec.structs.replace(
        chat, client_message_id=key, renewal=renewal, awaited=not goes_on
    )
    return chat, number


def key_of_repeated(request: web.Request, session_id: str, raw: bytes) -> str | None:
    """The key of a call that may have been stored before; None for a first attempt."""
    key = requests.idempotency_key(request)
    if key is None and _number(request):
        key = intent_key(caller_of(request), request.path, session_id, raw)
    return key


def _number(request: web.Request) -> int:
    counted = request.headers.get(ATTEMPT)
    return int(counted) if counted and COUNT.fullmatch(counted) else 0


async def intent_of(request: web.Request, session_id: str, raw: bytes) -> Intent:
    """The intent of a call: by the idempotency key that it brings, else by all that it is.

    Raises OperatorError(invalid_parameter).
    """
    number = _number(request)
    renewal = None
    if (key := requests.idempotency_key(request)) is None:
        key = intent_key(caller_of(request), request.path, session_id, raw)
        # The end of what a caller sends is read a turn after the body, though both came at once.
        await asyncio.sleep(0)
        age = perf_counter() - request[CALL].begun
        refused = request.app[SERVICES].foreground.refused
        earlier = 0 if refused.follows(key, number) else number
        renewal = renewal_of(Attempt(earlier, age, has_left(request)))
    return Intent(key, renewal, number)


def has_left(request: web.Request) -> bool:
    """True where the caller sends no more; most of those are gone."""
    transport = request.transport
    return transport is None or transport.is_closing() or connection_of(request).half_closed


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
            with services.clients.streaming(stream, promised=True):
                return await work(stream)
        finally:
            early = not stream.ended
    finally:
        await services.foreground.release(caller, attended, early=early)
