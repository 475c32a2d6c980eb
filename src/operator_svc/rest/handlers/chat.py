"""POST /operator/chat."""

from __future__ import annotations

from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.protocol.chat import ChatBody, ChatPending, chat_of
from operator_svc.rest import event_stream, requests, responses
from operator_svc.rest.request_context import CALL, caller_of


async def chat(request: web.Request) -> web.StreamResponse:
    """Ask Switch; the answer is whole, pending (202), or a stream of events.

    A client that leaves early does not stop the reply.
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
    if asked.session_id is not None and chats.rate.rate:
        call.tell_rate("chats", chats.rate, asked.session_id)
    if requests.wants_events(request, body.stream):
        return await event_stream.stream_chat(request, services, caller, asked)
    preference = requests.preference(request)
    accepted = await chats.start(caller, asked)
    outcome = await chats.wait(accepted, preference.wait)
    headers = {"Preference-Applied": preference.applied} if preference.applied else {}
    if outcome is None:
        headers["Location"] = f"/operator/reply/{accepted.reply_id}"
        pending = ChatPending(accepted.session_id, accepted.message_id, accepted.reply_id)
        return responses.json(pending, status=202, headers=headers)
    return responses.json(await chats.answer(accepted, outcome), headers=headers)


ROUTES = [web.post("/operator/chat", chat)]
