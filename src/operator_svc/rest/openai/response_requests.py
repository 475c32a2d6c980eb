"""Names in requests for responses: the session to continue, and the page of a list of items."""

from __future__ import annotations

from typing import Any

from operator_svc.context import Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.protocol import responses as protocol
from operator_svc.protocol.response_body import ConversationId, ResponseBody
from operator_svc.protocol.response_view import ResponseItems
from operator_svc.rest import requests


async def session_to_continue(services: Services, caller: Caller, body: ResponseBody) -> str | None:
    """The session that a response continues. Raises OperatorError where it names none."""
    named = body.conversation
    if named is not None and body.previous_response_id is not None:
        raise OperatorError.invalid("conversation", "previous_response_id names another one")
    if body.previous_response_id is not None:
        reply_id = protocol.reply_of(body.previous_response_id)
        try:
            if reply_id is not None:
                return (await services.history.reply(caller, reply_id)).session_id
        except OperatorError as error:
            if error.code is not ErrorCode.REPLY_NOT_FOUND:
                raise
        raise requests.wrong("previous_response_id", "there is no such response")
    if named is None:
        return None
    session_id = protocol.session_of(named.id if isinstance(named, ConversationId) else named)
    try:
        if session_id is not None:
            return (await services.sessions.get(caller, session_id)).session_id
    except OperatorError as error:
        if error.code is not ErrorCode.SESSION_NOT_FOUND:
            raise
    raise OperatorError(
        ErrorCode.SESSION_NOT_FOUND,
        "there is no such conversation",
        errors=[{"field": "conversation", "reason": "there is no such conversation"}],
    )


def page_of(
    items: list[dict[str, Any]], after: str | None, limit: int, order: str
) -> ResponseItems:
    """A page of items that are all there, oldest first. Raises OperatorError(invalid_parameter)."""
    if order == "desc":
        items = items[::-1]
    if after is not None:
        places = [index for index, item in enumerate(items) if item["id"] == after]
        if not places:
            raise requests.wrong("after", "there is no such item")
        items = items[places[0] + 1 :]
    page = items[:limit]
    return ResponseItems(
        data=page,
        first_id=page[0]["id"] if page else None,
        last_id=page[-1]["id"] if page else None,
        has_more=len(items) > limit,
    )
