"""``/v1/responses``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import Meta

from operator_svc.background import aside
from operator_svc.context import SERVICES, Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ReplyStatus
from operator_svc.protocol import decoding, openai, response_input
from operator_svc.protocol import responses as protocol
from operator_svc.protocol.chat import Chat, ReplyView
from operator_svc.protocol.response_body import ResponseBody
from operator_svc.protocol.response_items import items_of
from operator_svc.protocol.response_view import (
    ConversationOf,
    ResponseDeleted,
    ResponseItems,
    ResponseUsage,
    ResponseView,
)
from operator_svc.protocol.responses import Asked, ReplyState
from operator_svc.rest import requests, responses
from operator_svc.rest.openai import shared
from operator_svc.rest.openai.added_results import with_added_results
from operator_svc.rest.openai.asked import asked_of
from operator_svc.rest.openai.earlier_items import answered_response, named_items
from operator_svc.rest.openai.response_requests import page_of, session_to_continue
from operator_svc.rest.openai.response_stream import ResponseStream, ended_response
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.routing import (
    EVENTS,
    JSON,
    KEY,
    REPLY_FAILS,
    Answer,
    Parameter,
    RouteTable,
    json,
)
from operator_svc.rest.whole_reply import WholeReply
from operator_svc.services.chat.message_metadata import kept_of_reply
from operator_svc.services.chat.running_replies import Accepted

route = RouteTable("openai")

_ASKED = ResponseBody(input="What is running?", model=openai.ANY_MODEL)
Order = Annotated[Literal["asc", "desc"], Meta(title="Order")]
_RESPONSE = ResponseView(
    id="resp_42",
    created_at=1_764_115_200,
    completed_at=1_764_115_201,
    status="completed",
    error=None,
    incomplete_details=None,
    instructions=None,
    conversation=ConversationOf("conv_s-1"),
    output=[
        {
            "type": "message",
            "id": "msg_42",
            "status": "completed",
            "role": "assistant",
            "content": [
                {
                    "type": "output_text",
                    "text": "All ten modules.",
                    "annotations": [],
                    "logprobs": [],
                }
            ],
        }
    ],
    usage=ResponseUsage(input_tokens=12, output_tokens=4, total_tokens=16),
    metadata={},
    tools=[],
    reasoning={"effort": None, "summary": None},
    text={"format": {"type": "text"}},
    **protocol.DEFAULTS,
)
_ITEM = {
    "type": "message",
    "id": "msg_41",
    "role": "user",
    "content": [{"type": "input_text", "text": "What is running?"}],
    "status": "completed",
}
EXAMPLE_ITEMS = ResponseItems(data=[_ITEM], first_id="msg_41", last_id="msg_41", has_more=False)
AFTER = Parameter("after", Annotated[str, Meta(max_length=200)], "The id of the item before.")
LIMIT = Parameter("limit", Annotated[int, Meta(ge=1, le=100)], "Items of a page.", default=20)
ORDER = Parameter("order", Order, "`desc`, the newest first, or `asc`.", default="desc")


@route(
    "POST",
    "/v1/responses",
    parameters=(KEY,),
    body=ResponseBody,
    example=_ASKED,
    answers={
        200: Answer(
            meaning="The response, or its events where `stream` asks for them.",
            content={JSON: _RESPONSE, EVENTS: None},
        )
    },
    errors=(ErrorCode.INVALID_PARAMETER, ErrorCode.MODEL_NOT_FOUND, *REPLY_FAILS),
)
async def create_response(request: web.Request) -> web.StreamResponse:
    """Create a response.

    It is kept in the conversation that ``conversation`` names, or in that of
    ``previous_response_id``, else in one of its own. A caller that leaves stops it, unless
    ``background`` is true: then the call answers at once.
    """
    services = request.app[SERVICES]
    caller = caller_of(request)
    raw = await requests.read_body(request)
    plain, body = await aside(len(raw), lambda: decoding.both(raw, ResponseBody))
    await shared.check_model(request, body.model)
    session_id = await session_to_continue(services, caller, body)
    key = shared.key_of_repeated(request, session_id or "", raw)
    chat = await _chat(services, caller, plain, body, session_id, key, len(raw))
    chat, attempt = await shared.keyed(
        request, chat, session_id, raw, goes_on=bool(body.background)
    )
    kept = session_id is not None or body.store is not False
    attended = await services.foreground.start(caller, chat, attempt, kept=kept)
    accepted = attended.accepted
    asked = Asked(
        accepted.reply_id,
        accepted.session_id,
        accepted.begun_at,
        chat.engine,
        dict(body.metadata or {}),
    )
    if body.background and not body.stream:
        view = await services.history.reply(caller, accepted.reply_id)
        return responses.json(await _response(services, view, asked))
    if body.stream:
        return await shared.answer(
            services,
            caller,
            attended,
            lambda: ResponseStream(services, request, accepted, asked),
            ResponseStream.stream,
        )
    return await shared.answer(
        services,
        caller,
        attended,
        lambda: WholeReply(services, request, accepted),
        lambda waiting: _whole(services, waiting, asked),
    )


async def _chat(
    services: Services,
    caller: Caller,
    plain: dict[str, Any],
    body: ResponseBody,
    session_id: str | None,
    key: str | None,
    size: int,
) -> Chat:
    """The chat of a response; its body has ``size`` bytes, and ``key`` may stand for it already."""
    items = await named_items(services, caller, body.input)
    messages = await aside(size, lambda: response_input.messages_of(items))
    messages = await with_added_results(services, caller, body, session_id, key, messages)
    answered = await answered_response(services, caller, body, session_id, messages)
    sends_fields = services.settings.switch_dialect == "openai"
    return await aside(
        size,
        lambda: response_input.chat_of(
            body, plain, messages, session_id, answered=answered, sends_fields=sends_fields
        ),
    )


async def _whole(services: Services, waiting: WholeReply, asked: Asked) -> web.StreamResponse:
    """The response; raises OperatorError where it failed."""
    result = await waiting.result()
    response = await ended_response(services, waiting.accepted, asked, result)
    if response.status == "failed":
        await services.replies.answer(waiting.accepted, result)  # raises the failure
    return responses.json(response)


@route(
    "GET",
    "/v1/responses/{response_id}",
    parameters=(
        Parameter("stream", bool, "True for its events as a stream.", default=False),
        Parameter(
            "starting_after",
            Annotated[int, Meta(ge=0)],
            "The `sequence_number` after which the events begin.",
        ),
    ),
    answers={
        200: Answer(
            meaning="The response, or its events where `stream` asks for them.",
            content={JSON: _RESPONSE, EVENTS: None},
        )
    },
    errors=(ErrorCode.DRAINING,),
)
async def get_response(request: web.Request) -> web.StreamResponse:
    """Get a response in its current state, or stream it, whichever process writes it.

    A response can be streamed any number of times; disconnecting does not stop it.
    """
    services = request.app[SERVICES]
    view = await _reply(request)
    asked = await asked_of(services, caller_of(request), view)
    query = requests.query(request)
    if not query["stream"]:
        return responses.json(await _response(services, view, asked))
    services.drain.refuse_new()
    running = services.replies.running(view.reply_id, view.created_at)
    accepted = Accepted(
        view.session_id, view.message_id or 0, view.reply_id, view.created_at, running
    )
    after = -1 if query["starting_after"] is None else query["starting_after"]
    stream = ResponseStream(services, request, accepted, asked, after)
    with services.clients.streaming(stream):
        return await stream.stream()


@route(
    "POST",
    "/v1/responses/{response_id}/cancel",
    answers={200: json(_RESPONSE, "The response, which is cancelled or had ended.")},
)
async def cancel_response(request: web.Request) -> web.StreamResponse:
    """Stop a response, whichever process writes it; one that has ended stays as it is."""
    services, caller = request.app[SERVICES], caller_of(request)
    view = await services.replies.cancel(caller, _reply_id(request))
    asked = await asked_of(services, caller, view)
    return responses.json(await _response(services, view, asked))


@route(
    "GET",
    "/v1/responses/{response_id}/input_items",
    parameters=(AFTER, LIMIT, ORDER),
    answers={200: json(EXAMPLE_ITEMS, "The items.")},
)
async def list_input_items(request: web.Request) -> web.StreamResponse:
    """List the items that a response was asked with."""
    services, caller = request.app[SERVICES], caller_of(request)
    view = await _reply(request)
    asked = await asked_of(services, caller, view)
    items: list[dict[str, Any]] = []
    if kept_of_reply(view.metadata) is not None:
        items = list(items_of(view.reply_id, "", asked.engine))
    elif view.message_id is not None:
        message = await services.history.message(caller, view.message_id)
        items = list(items_of(message.id, message.content, asked.engine))
    return responses.json(page_of(items, **requests.query(request)))


def _reply_id(request: web.Request) -> int:
    """The reply in the path; raises OperatorError(reply_not_found)."""
    reply_id = protocol.reply_of(request.match_info["response_id"])
    if reply_id is None:
        raise OperatorError(ErrorCode.REPLY_NOT_FOUND, "there is no such response")
    return reply_id


async def _reply(request: web.Request) -> ReplyView:
    """The reply in the path, with the text that is stored of it."""
    return await request.app[SERVICES].history.reply(caller_of(request), _reply_id(request))


async def _response(services: Services, view: ReplyView, asked: Asked) -> ResponseView:
    tool_calls = await services.history.tool_calls_of(view.reply_id)
    return asked.response(
        ReplyState(
            ReplyStatus(view.status), view.content, view.metadata, tool_calls, view.finished_at
        )
    )


@route(
    "DELETE",
    "/v1/responses/{response_id}",
    answers={200: json(ResponseDeleted(id="resp_42"), "The deletion is confirmed.")},
    errors=(ErrorCode.CONFLICT,),
)
async def delete_response(request: web.Request) -> web.StreamResponse:
    """Stop and delete a response, and its input if no other response answers it."""
    services = request.app[SERVICES]
    await services.replies.delete(caller_of(request), _reply_id(request))
    return responses.json(ResponseDeleted(id=request.match_info["response_id"]))
