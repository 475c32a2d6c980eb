"""Chats: asking Switch."""

from __future__ import annotations

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.protocol.chat import Chat, ChatBody, ChatPending, chat_of
from operator_svc.rest import cors, event_stream, requests, responses
from operator_svc.rest.docs import examples, schema_rules
from operator_svc.rest.request_context import CALL, Call, caller_of
from operator_svc.rest.routing import (
    BAD_BODY,
    EVENTS,
    JSON,
    KEY,
    PREFER,
    SWITCH_FAILS,
    Answer,
    RouteTable,
    json,
)
from operator_svc.services.chat.quota import ChatQuota

route = RouteTable()


@route(
    "POST",
    "/operator/chat",
    tag="chat",
    parameters=(PREFER, KEY),
    body=ChatBody,
    example=ChatBody(message="What is running?", session_id="s-1", client_message_id="a1b2"),
    rules=schema_rules.CHAT,
    answers={
        200: Answer(
            meaning="The whole reply, or its events where `stream` or `Accept` asks for them.",
            content={JSON: examples.CHAT_ANSWER, EVENTS: None},
            headers=("Preference-Applied",),
        ),
        202: json(
            examples.CHAT_PENDING, "The reply is still written.", "Location", "Preference-Applied"
        ),
    },
    errors=(
        *BAD_BODY,
        ErrorCode.INVALID_PARAMETER,
        ErrorCode.SESSION_NOT_FOUND,
        ErrorCode.MESSAGE_NOT_FOUND,
        ErrorCode.CONFLICT,
        *SWITCH_FAILS,
        ErrorCode.NO_ANSWER,
        ErrorCode.CONTENT_FILTERED,
        ErrorCode.REPLY_TOO_LARGE,
        ErrorCode.REPLY_INTERRUPTED,
        ErrorCode.DRAINING,
    ),
)
async def chat(request: web.Request) -> web.StreamResponse:
    """Ask Switch.

    Keeps the message and the reply. Give ``message``, or ``messages`` whose last one by the user
    is the message. A client that gives up loses nothing: the reply goes on and is in the history.
    """
    services = request.app[SERVICES]
    call = request[CALL]
    body = await requests.body(request, ChatBody)
    asked = chat_of(
        body,
        key=requests.idempotency_key(request),
        source="web" if call.origin is not None else "api",
    )
    caller = caller_of(request)
    chats = services.chats
    preference = requests.preference(request)
    try:
        accepted = await chats.start(caller, asked)
    except OperatorError as error:
        if error.code is ErrorCode.RATE_LIMITED:
            _tell_rate(call, chats.quota, caller, asked)
        raise
    _tell_rate(call, chats.quota, caller, asked)
    if requests.wants_events(request, body.stream):
        return await event_stream.stream_chat(request, services, accepted)
    result = await services.replies.wait(accepted, preference.wait)
    headers = {"Preference-Applied": preference.applied} if preference.applied else {}
    if result is None:
        headers["Location"] = f"/operator/reply/{accepted.reply_id}"
        pending = ChatPending(accepted.session_id, accepted.message_id, accepted.reply_id)
        return responses.json(pending, status=202, headers=headers)
    return responses.json(await services.replies.answer(accepted, result), headers=headers)


def _tell_rate(call: Call, quota: ChatQuota, caller: Caller, asked: Chat) -> None:
    if quota.rate.rate:
        call.tell_rate("chats", quota.rate, quota.key(caller, asked.session_id))


@route(
    "OPTIONS",
    "/operator/chat",
    tag="chat",
    answers={204: Answer(meaning="It is.", headers=("Allow",))},
)
async def options(request: web.Request) -> web.StreamResponse:
    """Look whether one is connected, and the token is right.

    A browser's preflight (with ``Origin`` and ``Access-Control-Request-Method``) needs no token.
    Other paths answer OPTIONS alike.
    """
    return await cors.options(request)
