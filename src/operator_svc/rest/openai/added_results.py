"""Results of a response's own calls that were added to its conversation as items."""

from __future__ import annotations

from operator_svc.context import Services
from operator_svc.models import Caller, Json, ReplyStatus, Role
from operator_svc.protocol import responses as protocol
from operator_svc.protocol.openai import tool_calls_of
from operator_svc.protocol.response_body import ResponseBody
from operator_svc.protocol.response_items import with_text
from operator_svc.protocol.sessions import MessageView
from operator_svc.rest.openai.earlier_items import NEWEST
from operator_svc.services.chat.message_metadata import kept_engine


async def with_added_results(
    services: Services,
    caller: Caller,
    body: ResponseBody,
    session_id: str | None,
    key: str | None,
    messages: list[dict[str, Json]],
) -> list[dict[str, Json]]:
    """The ``messages`` of a response's input, after the results that were added for it.

    ``key`` is that of a call which may have been stored before: what it had then, it has again.
    """
    if services.settings.switch_dialect != "openai" or session_id is None:
        return messages
    brought = {message.get("tool_call_id") for message in messages}
    follows = protocol.reply_of(body.previous_response_id or "")
    asks = any(message["role"] == "user" for message in messages)
    added = await _added_results(services, caller, session_id, key, follows, asks=asks)
    return [*(one for one in added if one["tool_call_id"] not in brought), *messages]


async def _added_results(
    services: Services,
    caller: Caller,
    session_id: str,
    key: str | None,
    follows: int | None,
    *,
    asks: bool,
) -> list[dict[str, Json]]:
    """The results of calls of the response that is followed, or of a conversation's last one, that
    were added as items after it, as messages of chat completions; ``asks`` is True for a response
    to a message of the user."""
    if follows and not await services.history.tool_calls_of(follows):
        return []
    known = None if key is None else await services.replies.stored_under(caller, key)
    before = None if known is None or known.session_id != session_id else known.reply_id
    page = await services.history.page(caller, session_id, limit=NEWEST, before=before)
    results: list[dict[str, Json]] = []
    for view in reversed(page.messages):
        if view.role == Role.TOOL:
            kept = kept_engine(view.metadata).input or []
            results += [with_text(m, view.content) for m in kept if m["role"] == "tool"]
        elif view.reply_to and (not follows or view.id == follows):
            calls = await services.history.tool_calls_of(view.id) if results else []
            named = {call["id"] for call in tool_calls_of(calls, indexed=False)}
            own = [one for one in reversed(results) if one["tool_call_id"] in named]
            if own or follows or _has_had(view, asks=asks):
                return own
    return []


def _has_had(view: MessageView, *, asks: bool) -> bool:
    """True for a reply that the results before it were for. One that failed, or was stopped before
    its first token, is asked for again; so is one that was cut, unless a message of the user goes
    on from what there is of it, which the history has with the results."""
    if view.status == ReplyStatus.FAILED or (view.status == ReplyStatus.INTERRUPTED and not asks):
        return False
    return view.status == ReplyStatus.STREAMING or bool(view.content or view.tool_calls)
