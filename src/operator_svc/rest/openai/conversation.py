"""``/v1/conversations``."""

from __future__ import annotations

from aiohttp import web

from operator_svc.background import aside
from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode
from operator_svc.protocol import conversation as protocol
from operator_svc.protocol import decoding
from operator_svc.protocol.response_body import InputItem
from operator_svc.protocol.responses import session_of
from operator_svc.protocol.sessions import MessageView
from operator_svc.rest import requests, responses
from operator_svc.rest.openai.conversation_items import Item, added, find, page
from operator_svc.rest.openai.responses import AFTER, EXAMPLE_ITEMS, LIMIT, ORDER
from operator_svc.rest.openai.shared import has_left, intent_of
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.routing import JSON, KEY, Answer, RouteTable, json
from operator_svc.services.access import no_session

route = RouteTable("openai")

_CONVERSATION = protocol.ConversationView(
    id="conv_s-1", created_at=1_764_115_200, metadata={"topic": "modules"}
)
_SAID = [InputItem(type="message", role="user", content="What is running?")]


@route(
    "POST",
    "/v1/conversations",
    parameters=(KEY,),
    body=protocol.ConversationBody,
    example=protocol.ConversationBody(items=_SAID, metadata={"topic": "modules"}),
    answers={200: json(_CONVERSATION, "The new conversation.")},
    errors=(ErrorCode.CONFLICT, ErrorCode.DRAINING, ErrorCode.INVALID_PARAMETER),
)
async def create_conversation(request: web.Request) -> web.StreamResponse:
    """Create a conversation, which is a session, with ``items`` to begin with.

    A retry returns the one that the call before it has made, if that was not answered.
    """
    services, caller = request.app[SERVICES], caller_of(request)
    raw = await requests.read_body(request)
    body = await aside(len(raw), lambda: decoding.decode(raw, protocol.ConversationBody))
    said = protocol.said(body.items or [])
    intent = await intent_of(request, "", raw)
    metadata = dict(body.metadata or {})
    session_id = await services.conversations.create(caller, metadata, said, intent)
    answer = await _answer(request, session_id)
    await answer.prepare(request)
    await answer.write_eof()
    if not has_left(request):
        await services.conversations.answered(caller, session_id, intent)
    return answer


@route(
    "GET",
    "/v1/conversations/{conversation_id}",
    answers={200: json(_CONVERSATION, "The conversation.")},
)
async def get_conversation(request: web.Request) -> web.StreamResponse:
    """Get a conversation; every session is one."""
    return await _answer(request, _session_id(request))


@route(
    "POST",
    "/v1/conversations/{conversation_id}",
    body=protocol.ConversationUpdate,
    example=protocol.ConversationUpdate(metadata={"topic": "modules"}),
    answers={200: json(_CONVERSATION, "The conversation.")},
)
async def update_conversation(request: web.Request) -> web.StreamResponse:
    """Replace the metadata of a conversation."""
    services, caller = request.app[SERVICES], caller_of(request)
    session_id = _session_id(request)
    body = await requests.body(request, protocol.ConversationUpdate)
    await services.conversations.set_metadata(caller, session_id, dict(body.metadata or {}))
    return await _answer(request, session_id)


@route(
    "DELETE",
    "/v1/conversations/{conversation_id}",
    answers={200: json(protocol.ConversationDeleted(id="conv_s-1"), "The deletion is confirmed.")},
)
async def delete_conversation(request: web.Request) -> web.StreamResponse:
    """Delete a conversation with all that belongs to it."""
    services = request.app[SERVICES]
    await services.sessions.delete(caller_of(request), _session_id(request))
    identity = request.match_info["conversation_id"]
    return responses.json(protocol.ConversationDeleted(id=identity))


@route(
    "POST",
    "/v1/conversations/{conversation_id}/items",
    parameters=(KEY,),
    body=protocol.NewItems,
    example=protocol.NewItems(items=_SAID),
    answers={200: json(EXAMPLE_ITEMS, "The added items.")},
    errors=(ErrorCode.CONFLICT, ErrorCode.DRAINING, ErrorCode.INVALID_PARAMETER),
)
async def create_conversation_items(request: web.Request) -> web.StreamResponse:
    """Add items to a conversation, without requesting a reply. A retry adds them once."""
    services, caller = request.app[SERVICES], caller_of(request)
    session_id = _session_id(request)
    raw = await requests.read_body(request)
    said = await aside(
        len(raw), lambda: protocol.said(decoding.decode(raw, protocol.NewItems).items)
    )
    intent = await intent_of(request, session_id, raw)
    first, last = await services.conversations.add(caller, session_id, said, intent)
    return responses.json(await added(services, caller, session_id, first, last))


@route(
    "GET",
    "/v1/conversations/{conversation_id}/items",
    parameters=(AFTER, LIMIT, ORDER),
    answers={200: json(EXAMPLE_ITEMS, "A page of items.")},
)
async def list_conversation_items(request: web.Request) -> web.StreamResponse:
    """List the items of a conversation: messages, and calls of tools with their results."""
    query = requests.query(request)
    services, caller = request.app[SERVICES], caller_of(request)
    return responses.json(await page(services, caller, _session_id(request), **query))


@route(
    "GET",
    "/v1/conversations/{conversation_id}/items/{item_id}",
    answers={200: Answer(meaning="The item.", content={JSON: dict})},
)
async def get_conversation_item(request: web.Request) -> web.StreamResponse:
    """Get an item of a conversation."""
    _, found = await _item(request)
    return responses.json(found)


@route(
    "DELETE",
    "/v1/conversations/{conversation_id}/items/{item_id}",
    answers={200: json(_CONVERSATION, "The conversation.")},
    errors=(ErrorCode.CONFLICT,),
)
async def delete_conversation_item(request: web.Request) -> web.StreamResponse:
    """Delete an item with the message that it belongs to, and all replies to that."""
    view, _ = await _item(request)
    await request.app[SERVICES].replies.delete_message(caller_of(request), view.id)
    return await _answer(request, _session_id(request))


def _session_id(request: web.Request) -> str:
    """The session in the path; raises OperatorError(session_not_found)."""
    session_id = session_of(request.match_info["conversation_id"])
    if session_id is None:
        raise no_session()
    return session_id


async def _item(request: web.Request) -> tuple[MessageView, Item]:
    """The item in the path and its message; raises OperatorError: session_not_found,
    message_not_found."""
    services, caller = request.app[SERVICES], caller_of(request)
    return await find(services, caller, _session_id(request), request.match_info["item_id"])


async def _answer(request: web.Request, session_id: str) -> web.StreamResponse:
    session = await request.app[SERVICES].sessions.get(caller_of(request), session_id)
    return responses.json(protocol.conversation_of(session))
