"""``/ai/chat``: the calls of the AI SDK's ``DefaultChatTransport``, and a chat's history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ReplyStatus, Role
from operator_svc.protocol import ids, ui_messages
from operator_svc.protocol.chat import Chat
from operator_svc.protocol.ids import RowId
from operator_svc.protocol.sessions import MessageView
from operator_svc.protocol.ui_messages import UiChatBody
from operator_svc.rest import requests, responses
from operator_svc.rest.ai_sdk.stream import UiMessageStream
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
)
from operator_svc.services.chat.running_replies import Accepted

route = RouteTable("ai sdk")

NEWEST = 50
"""Messages among which a session's newest reply is looked for."""
PAGE = 1000
"""Messages of a page of the history."""
_STREAM = Answer(
    meaning="The parts of the reply, as events.",
    content={EVENTS: None},
    headers=("x-vercel-ai-ui-message-stream",),
)
_NOTHING = Answer(meaning="Nothing is being written.")


@route(
    "POST",
    "/ai/chat",
    parameters=(KEY,),
    body=UiChatBody,
    example=UiChatBody(
        id="s-1",
        messages=[
            ui_messages.UiMessageParam(
                role="user", parts=[ui_messages.UiPart("text", "What is running?")], id="a1b2"
            )
        ],
    ),
    answers={200: _STREAM},
    errors=(*REPLY_FAILS, *REPLY_WITHHELD, ErrorCode.MESSAGE_NOT_FOUND),
)
async def send_ui_message(request: web.Request) -> web.StreamResponse:
    """Send a message, from the AI SDK.

    The last message is kept, and the history is the session's own. One that takes the place of
    another, which ``messageId`` names, ends the history there: what came after is deleted. Leaving
    does not stop the reply: ``GET /ai/chat/{session_id}/stream`` shows it again from its start.
    """
    services = request.app[SERVICES]
    caller = caller_of(request)
    body = await requests.body(request, UiChatBody)
    named = await _named(request, caller, body)
    asked = ui_messages.chat_of(
        body,
        named,
        requests.idempotency_key(request),
        sends_fields=services.settings.switch_dialect == "openai",
    )
    if body.trigger == "submit-message" and named is not None:
        await _make_room(request, caller, asked, named)
    accepted = await services.chats.start(caller, asked)
    return await _stream(request, accepted, promised=True)


@route(
    "GET",
    "/ai/chat/{session_id}/stream",
    answers={200: _STREAM, 204: _NOTHING},
    errors=(ErrorCode.DRAINING,),
)
async def resume_ui_stream(request: web.Request) -> web.StreamResponse:
    """Show the reply that is being written, from its start."""
    caller = caller_of(request)
    running = await _running(request, caller)
    if running is None:
        return web.Response(status=204)
    request.app[SERVICES].drain.refuse_new()
    return await _stream(request, running, promised=False)


@route(
    "POST",
    "/ai/chat/{session_id}/stop",
    answers={204: Answer(meaning="It has stopped, or nothing was being written.")},
)
async def stop_ui_reply(request: web.Request) -> web.StreamResponse:
    """Stop the reply that is being written; its text so far is kept."""
    caller = caller_of(request)
    running = await _running(request, caller)
    if running is not None:
        await request.app[SERVICES].replies.cancel(caller, running.reply_id)
    return web.Response(status=204)


@route(
    "GET",
    "/ai/chat/{session_id}/messages",
    parameters=(Parameter("before", RowId, "Only messages before this one."),),
    answers={
        200: Answer(
            meaning="The newest messages.",
            content={JSON: list[ui_messages.UiMessage]},
            headers=("Link",),
        )
    },
)
async def list_ui_messages(request: web.Request) -> web.StreamResponse:
    """Read a session's newest messages as the AI SDK has them.

    Of several replies to a message the newest is given. Where there are older messages, the header
    ``Link`` has the address of the page before (``rel="next"``).
    """
    caller, session_id = caller_of(request), requests.session_id(request)
    history = request.app[SERVICES].history
    page = await history.page(caller, session_id, limit=PAGE, **requests.query(request))
    older = {}
    if page.next_before is not None:
        older["Link"] = f'<?before={page.next_before}>; rel="next"'
    return responses.json(list(ui_messages.messages_of(page.messages)), headers=older)


async def _named(request: web.Request, caller: Caller, body: UiChatBody) -> int | None:
    """The message that a body names; for a regenerate that names none the last one that its client
    has, or else the newest one with a reply."""
    if body.messageId is not None:
        return await _known(request, caller, body.id, body.messageId)
    if body.trigger != "regenerate-message":
        return None
    if body.messages and body.messages[-1].role == "user":
        known = await _known(request, caller, body.id, body.messages[-1].id)
        if known is not None:
            return known
    newest = await _newest_reply(request, caller, body.id)
    return None if newest is None else newest.reply_to


async def _known(
    request: web.Request, caller: Caller, session_id: str, identity: str
) -> int | None:
    """A message by the id that its client gave it, or by that of the history."""
    known = await request.app[SERVICES].replies.stored_under(caller, identity)
    if known is not None and known.session_id == session_id:
        return known.message_id
    return ids.row_id(identity)


async def _make_room(request: web.Request, caller: Caller, asked: Chat, message_id: int) -> None:
    """Delete a message, whose place the one of ``asked`` takes, and all after it; the newest first,
    so that what is left is a beginning of the chat. The same message sent again stays.

    Raises OperatorError(draining).
    """
    services = request.app[SERVICES]
    services.drain.refuse_new()
    if asked.client_message_id is not None:
        known = await services.replies.stored_under(caller, asked.client_message_id)
        if known is not None and known.body_hash == asked.body_hash():
            return
    after: list[MessageView] = []
    with _may_be_new():
        views = services.history.oldest_first(caller, asked.session_id or "", message_id - 1)
        after = [view async for view in views]
    if not after or (after[0].id, after[0].role) != (message_id, Role.USER):
        return  # it was deleted before
    for view in reversed(after):
        if view.reply_to is None:
            await services.replies.delete_message(caller, view.id)


@contextmanager
def _may_be_new() -> Iterator[None]:
    """Read a session that may not be there yet."""
    try:
        yield
    except OperatorError as error:
        if error.code is not ErrorCode.SESSION_NOT_FOUND:
            raise


async def _newest_reply(
    request: web.Request, caller: Caller, session_id: str, status: str | None = None
) -> MessageView | None:
    page = await request.app[SERVICES].history.page(caller, session_id, limit=NEWEST, before=None)
    replies = [m for m in page.messages if m.reply_to is not None and status in (None, m.status)]
    return replies[-1] if replies else None


async def _running(request: web.Request, caller: Caller) -> Accepted | None:
    """The newest reply of the session that is being written. There is none in a session that is
    not there yet: a page with a new chat asks for one, too."""
    session_id, view = requests.session_id(request), None
    with _may_be_new():
        view = await _newest_reply(request, caller, session_id, ReplyStatus.STREAMING)
    if view is None or view.reply_to is None:
        return None
    running = request.app[SERVICES].replies.running(view.id, view.timestamp)
    return Accepted(session_id, view.reply_to, view.id, view.timestamp, running)


async def _stream(
    request: web.Request, accepted: Accepted, *, promised: bool
) -> web.StreamResponse:
    services = request.app[SERVICES]
    stream = UiMessageStream(services, request, accepted)
    with services.clients.streaming(stream, promised=promised):
        return await stream.stream()
