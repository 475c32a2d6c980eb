"""Chats: asking Switch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol.chat import (
    ChatAnswer,
    ChatBody,
    ChatPending,
    InterfaceChatAnswer,
    chat_of,
)
from operator_svc.rest import cors, event_stream, requests, responses
from operator_svc.rest.docs import examples, schema_rules
from operator_svc.rest.request_context import CALL, Call, caller_of
from operator_svc.rest.routing import (
    EVENTS,
    JSON,
    KEY,
    PREFER,
    REPLY_FAILS,
    REPLY_WITHHELD,
    Answer,
    RouteTable,
    json,
)
from operator_svc.services.chat.quota import ChatQuota

route = RouteTable("chat")

EXAMPLE = ChatBody(message="What is running?", session_id="s-1", client_message_id="a1b2")
FAILURES = (
    ErrorCode.INVALID_PARAMETER,
    *REPLY_FAILS,
    *REPLY_WITHHELD,
    ErrorCode.MESSAGE_NOT_FOUND,
)


def _answers(example: msgspec.Struct) -> dict[int, Answer]:
    return {
        200: Answer(
            meaning="The whole reply, or its events where `stream` or `Accept` asks for them.",
            content={JSON: example, EVENTS: None},
            headers=("Preference-Applied",),
        ),
        202: json(
            examples.CHAT_PENDING, "The reply is still written.", "Location", "Preference-Applied"
        ),
    }


chat_route = partial(
    route,
    "POST",
    parameters=(PREFER, KEY),
    body=ChatBody,
    example=EXAMPLE,
    rules=schema_rules.CHAT,
    errors=FAILURES,
)
"""The same call, at each of its paths."""


@chat_route("/operator/chat", answers=_answers(examples.CHAT_ANSWER))
async def chat(request: web.Request) -> web.StreamResponse:
    """Send a message and get the reply.

    Both are kept in the session. Give ``message``, or ``messages`` whose last one by the user is
    the message. A client that disconnects loses nothing: the reply goes on and is in the history.
    """
    return await _chat(request)


@chat_route("/operator/api/chat", answers=_answers(examples.INTERFACE_CHAT_ANSWER))
async def chat_with_interface(request: web.Request) -> web.StreamResponse:
    """Send a message and get the reply, as VX11's newer interface does.

    The same call; its answer also tells who answered, and whether the reply is not whole.
    """
    return await _chat(request, _for_interface)


def _for_interface(answer: ChatAnswer) -> ChatAnswer:
    return InterfaceChatAnswer(
        **msgspec.structs.asdict(answer),
        degraded=answer.metadata.get("status") != "ok",
        provider_used=answer.metadata.get("provider"),
    )


async def _chat(
    request: web.Request, shown: Callable[[ChatAnswer], ChatAnswer] | None = None
) -> web.StreamResponse:
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
            _tell_rate(call, chats.quota, chats.quota.key_of_refusal(caller, asked.session_id))
        raise
    _tell_rate(call, chats.quota, chats.quota.key(caller, asked.session_id))
    if requests.wants_events(request, body.stream):
        return await event_stream.stream_chat(request, services, accepted)
    async with services.clients.calling(caller, services.tokens):
        result = await services.replies.wait(accepted, preference.wait)
    headers = {"Preference-Applied": preference.applied} if preference.applied else {}
    if result is None:
        headers["Location"] = responses.own_path(request, f"/operator/reply/{accepted.reply_id}")
        pending = ChatPending(
            accepted.session_id, accepted.message_id, accepted.reply_id, accepted.begun_at
        )
        return responses.json(pending, status=202, headers=headers)
    answer = await services.replies.answer(accepted, result)
    return responses.json(answer if shown is None else shown(answer), headers=headers)


def _tell_rate(call: Call, quota: ChatQuota, key: str) -> None:
    if quota.rate.rate:
        call.tell_rate("chats", quota.rate, key)


@route(
    "OPTIONS",
    "/operator/chat",
    answers={204: Answer(meaning="The path exists.", headers=("Allow",))},
)
async def get_chat_methods(request: web.Request) -> web.StreamResponse:
    """Check the connection and the token.

    A browser's preflight (with ``Origin`` and ``Access-Control-Request-Method``) needs no token.
    All other paths answer OPTIONS in the same way.
    """
    return await cors.options(request)
