"""A session's messages as the items of a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from operator_svc.context import Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_ID, Caller, ReplyStatus, Role
from operator_svc.protocol import ids
from operator_svc.protocol.response_items import items_of, output_of
from operator_svc.protocol.response_view import ResponseItems
from operator_svc.protocol.responses import STATUSES, item_status
from operator_svc.protocol.sessions import MessageView
from operator_svc.rest import requests
from operator_svc.services.chat.history import READ_AT_ONCE
from operator_svc.services.chat.message_metadata import kept_engine, kept_of_reply
from operator_svc.stores.pages import PAGE_BYTES

Item = dict[str, Any]


def items_of_message(view: MessageView) -> list[Item]:
    """The items of a stored message, in their order; those of a reply begin with the results of
    tools that it was asked with."""
    engine = kept_engine(view.metadata)
    if view.role != Role.ASSISTANT:
        return list(items_of(view.id, view.content, engine, view.role))
    of_its_own = view.reply_to is not None and kept_of_reply(view.metadata) is not None
    results = items_of(view.id, "", engine) if of_its_own else ()
    status = item_status(STATUSES[ReplyStatus(view.status)])
    return [*results, *output_of(view.id, view.content, view.tool_calls, status)]


async def page(
    services: Services,
    caller: Caller,
    session_id: str,
    *,
    after: str | None,
    limit: int,
    order: str,
) -> ResponseItems:
    """A page of the items of a session, which ends at ``limit`` or at ``PAGE_BYTES``.

    Raises OperatorError: session_not_found, invalid_parameter for an ``after`` that names none.
    """
    begin = None if after is None else await _begin(services, caller, session_id, after)
    items = _items(services, caller, session_id, order, begin)
    shown: list[Item] = []
    room, passed = PAGE_BYTES, after is None
    async for item in items:
        if not passed:
            passed = item["id"] == after
            continue
        room -= len(msgspec.json.encode(item))
        if shown and (len(shown) == limit or room < 0):
            return _page(shown, has_more=True)
        shown.append(item)
    return _page(shown, has_more=False)


async def added(
    services: Services, caller: Caller, session_id: str, first: int, last: int
) -> ResponseItems:
    """The items of the messages that were added together, from the ``first`` to the ``last``."""
    items: list[Item] = []
    async for view in services.history.oldest_first(caller, session_id, first - 1):
        if view.id > last:
            break
        items += items_of_message(view)
    return _page(items, has_more=False)


def _page(items: list[Item], *, has_more: bool) -> ResponseItems:
    return ResponseItems(
        data=items,
        first_id=items[0]["id"] if items else None,
        last_id=items[-1]["id"] if items else None,
        has_more=has_more,
    )


async def find(
    services: Services, caller: Caller, session_id: str, identity: str
) -> tuple[MessageView, Item]:
    """An item of a session and its message; raises OperatorError: session_not_found,
    message_not_found."""
    row = await _row(services, caller, identity)
    before = 1 if row is None else min(row + 1, MAX_ID)
    history = await services.history.page(caller, session_id, limit=1, before=before)
    for view in history.messages:
        for item in items_of_message(view):
            if item["id"] == identity:
                return view, item
    raise OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such item")


async def _begin(services: Services, caller: Caller, session_id: str, after: str) -> int:
    try:
        view, _ = await find(services, caller, session_id, after)
    except OperatorError as error:
        if error.code is not ErrorCode.MESSAGE_NOT_FOUND:
            raise
        raise requests.wrong("after", "there is no such item") from None
    return view.id


async def _items(
    services: Services, caller: Caller, session_id: str, order: str, begin: int | None
) -> AsyncIterator[Item]:
    """The items of a session in an order, from a message on."""
    if order == "asc":
        views = services.history.oldest_first(caller, session_id, 0 if begin is None else begin - 1)
    else:
        views = _newest_first(services, caller, session_id, begin)
    async for view in views:
        items = items_of_message(view)
        for item in items if order == "asc" else reversed(items):
            yield item


async def _newest_first(
    services: Services, caller: Caller, session_id: str, begin: int | None
) -> AsyncIterator[MessageView]:
    place = None if begin is None else begin + 1
    while True:
        history = await services.history.page(caller, session_id, limit=READ_AT_ONCE, before=place)
        for view in reversed(history.messages):
            yield view
        if (place := history.next_before) is None:
            return


async def _row(services: Services, caller: Caller, identity: str) -> int | None:
    """The stored message of an item, by the item's id; None for a malformed id."""
    kind, _, rest = identity.partition("_")
    number = ids.row_id(rest.partition("_")[0])
    if number is None or kind != "fc" or "_" in rest:
        return number
    try:
        return (await services.tool_calls.get(caller, number)).message_id
    except OperatorError as error:
        if error.code is not ErrorCode.TOOL_CALL_NOT_FOUND:
            raise
    return None
