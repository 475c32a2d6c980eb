"""``/v1/models`` and ``/v1/chat/completions``."""

from __future__ import annotations

import time

import msgspec
from aiohttp import web
from multidict import istr

from operator_svc.background import aside
from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.protocol import decoding, openai, openai_answers
from operator_svc.protocol.completion_body import ChatCompletionBody, MessageParam
from operator_svc.rest import requests, responses
from operator_svc.rest.openai import shared
from operator_svc.rest.openai.earlier_items import continued
from operator_svc.rest.openai.stream import ChunkHead, CompletionStream
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.routing import (
    EVENTS,
    JSON,
    KEY,
    REPLY_FAILS,
    REPLY_WITHHELD,
    Answer,
    Parameter,
    RouteTable,
    json,
)
from operator_svc.rest.whole_reply import WholeReply

route = RouteTable("openai")

SESSION, USER = istr("X-Operator-Session"), istr("X-Operator-User")
BACKGROUND = istr("X-Operator-Background")
WEBUI_SESSION, WEBUI_USER = istr("X-OpenWebUI-Chat-Id"), istr("X-OpenWebUI-User-Id")

_MODEL = openai_answers.Model(id=openai.ANY_MODEL, created=1_764_115_200)
_COMPLETION = openai_answers.ChatCompletion(
    id="chatcmpl-42",
    created=1_764_115_200,
    model=openai.ANY_MODEL,
    choices=[
        openai_answers.Choice(
            message=openai_answers.AssistantMessage(content="All ten modules."),
            finish_reason="stop",
        )
    ],
    usage=openai_answers.Usage(12, 4, 16),
)


@route(
    "GET",
    "/v1/models",
    answers={200: json(openai_answers.ModelList(data=[_MODEL]), "The models.")},
)
async def list_models(request: web.Request) -> web.StreamResponse:
    """List the models.

    The first one, ``operator``, leaves the choice to the upstream; the others are those that it
    lists. While it is away the last known list is given.
    """
    return responses.json(
        openai_answers.ModelList(data=list((await shared.known_models(request)).values()))
    )


@route(
    "GET",
    "/v1/models/{model}",
    answers={200: json(_MODEL, "The model.")},
)
async def get_model(request: web.Request) -> web.StreamResponse:
    """Get a model."""
    name = request.match_info["model"]
    found = (await shared.known_models(request)).get(name)
    if found is None:
        raise shared.no_model(name)
    return responses.json(found)


@route(
    "POST",
    "/v1/chat/completions",
    parameters=(
        KEY,
        Parameter(SESSION, str, "The session that keeps the chat.", "header"),
        Parameter(USER, str, "The owner of the session, where the token has none.", "header"),
        Parameter(BACKGROUND, bool, "The reply goes on when its caller leaves.", "header"),
    ),
    body=ChatCompletionBody,
    example=ChatCompletionBody(
        messages=[MessageParam(role="user", content="What is running?")],
        model=openai.ANY_MODEL,
    ),
    answers={
        200: Answer(
            meaning="The whole reply, or its chunks where `stream` asks for them.",
            content={JSON: _COMPLETION, EVENTS: None},
        )
    },
    errors=(
        ErrorCode.INVALID_PARAMETER,
        ErrorCode.MODEL_NOT_FOUND,
        *REPLY_FAILS,
        *REPLY_WITHHELD,
    ),
)
async def create_chat_completion(request: web.Request) -> web.StreamResponse:
    """Create a chat completion.

    The last message of the user is kept, with its reply, in the session that the header or
    ``metadata.session_id`` names, else in one of its own. A caller that leaves stops the reply.
    """
    services = request.app[SERVICES]
    caller = caller_of(request)
    raw = await requests.read_body(request)
    plain, body = await aside(len(raw), lambda: decoding.both(raw, ChatCompletionBody))
    session, chat = request.headers.get(SESSION), request.headers.get(WEBUI_SESSION)
    task = not session and bool(chat) and openai.is_webui_task(body)
    place = openai.place_of(
        body,
        None if task else session or chat or None,
        None if caller.user_id is not None else _user(request),
    )
    await shared.check_model(request, body.model)
    background = _flag(request, BACKGROUND)
    sends_fields = services.settings.switch_dialect == "openai"
    asked = await aside(
        len(raw), lambda: openai.chat_of(body, plain, place, sends_fields=sends_fields)
    )
    named = place.session_id is not None
    if named and sends_fields:
        asked = await continued(services, caller, asked)
    goes_on = named and bool(body.background or background)
    asked, attempt = await shared.keyed(request, asked, place.session_id, raw, goes_on=goes_on)
    attended = await services.foreground.start(
        caller,
        asked,
        attempt,
        kept=named or not (task or body.store is False),
    )
    accepted = attended.accepted
    if not body.stream:
        return await shared.answer(
            services,
            caller,
            attended,
            lambda: WholeReply(services, request, accepted),
            lambda waiting: _whole(waiting, body),
        )
    head = ChunkHead(
        accepted.reply_id,
        int(time.time()),
        body.model or openai.ANY_MODEL,
        bool(body.stream_options and body.stream_options.include_usage),
    )
    return await shared.answer(
        services,
        caller,
        attended,
        lambda: CompletionStream(services, request, accepted, head),
        CompletionStream.stream,
    )


def _user(request: web.Request) -> str | None:
    """The user that the headers name, if any."""
    return request.headers.get(USER) or request.headers.get(WEBUI_USER) or None


def _flag(request: web.Request, name: str) -> bool:
    """A header that is ``true`` or ``false``; raises OperatorError(invalid_parameter)."""
    value = request.headers.get(name, "false")
    if value not in ("true", "false"):
        raise requests.wrong(name, "it must be true or false")
    return value == "true"


async def _whole(waiting: WholeReply, body: ChatCompletionBody) -> web.StreamResponse:
    answer = await waiting.answer()
    called = openai.tool_calls_of(answer.tool_calls, indexed=False)
    reasoning = answer.metadata.get("reasoning")
    message = openai_answers.AssistantMessage(
        content=answer.reply or (None if called else ""),
        reasoning_content=reasoning if isinstance(reasoning, str) else msgspec.UNSET,
        tool_calls=called or msgspec.UNSET,
    )
    reason = openai.finish_reason_of(answer.metadata, called=bool(called))
    return responses.json(
        openai_answers.ChatCompletion(
            id=openai.completion_id(answer.reply_id),
            created=int(time.time()),
            model=body.model or openai.ANY_MODEL,
            choices=[openai_answers.Choice(message=message, finish_reason=reason)],
            usage=openai.usage_of(answer.metadata),
        )
    )
