"""Items of earlier replies that a request refers to: by name, or as the calls of tools whose
results it brings."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from operator_svc.context import Services
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, Json, Role
from operator_svc.protocol import ids
from operator_svc.protocol import responses as protocol
from operator_svc.protocol.chat import Chat, ReplyView
from operator_svc.protocol.openai import tool_calls_of, with_results
from operator_svc.protocol.response_body import InputItem, ResponseBody
from operator_svc.protocol.response_input import Answered, open_results
from operator_svc.protocol.response_items import call_item, items_of, named_message
from operator_svc.rest.openai.asked import asked_of
from operator_svc.services.chat.message_metadata import kept_engine

NEWEST = 50
"""Messages of a conversation that are looked at for its last replies, and for results after them;
one call adds 20 at most."""


async def named_items(
    services: Services, caller: Caller, asked: str | list[InputItem]
) -> str | list[InputItem | dict[str, Json]]:
    """The input with the items that it refers to by their ids; a message among those is one of
    chat completions already.

    Raises OperatorError: validation_error for an id that names none, and payload_too_large where
    they have more bytes together than a body may have that brings them itself.
    """
    if isinstance(asked, str):
        return asked
    room = services.settings.max_body
    items: list[InputItem | dict[str, Json]] = []
    for index, item in enumerate(asked):
        if item.type != "item_reference":
            items.append(item)
            continue
        found = await _named(services, caller, item.id or "")
        if found is None:
            raise OperatorError.invalid(f"input[{index}].id", "there is no such item")
        room -= len(msgspec.json.encode(found))
        if room < 0:
            raise OperatorError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                f"the items that the input names have more than {services.settings.max_body} bytes",
            )
        items.append(found)
    return items


async def _named(
    services: Services, caller: Caller, identity: str
) -> InputItem | dict[str, Json] | None:
    kind, _, number = identity.partition("_")
    row_id = ids.row_id(number.partition("_")[0])
    if row_id is None:
        return None
    try:
        if kind == "fc" and "_" not in number:
            called = await services.tool_calls.get(caller, row_id)
            return msgspec.convert(call_item(called), InputItem)
        row = await services.history.stored(caller, row_id)
        engine = kept_engine(row.metadata)
        if row.role == Role.TOOL:
            (item,) = items_of(row.id, row.content, engine, row.role)
            return msgspec.convert(item, InputItem) if item["id"] == identity else None
        if kind != "msg" or "_" in number:
            return None
        if row.role == Role.ASSISTANT:
            return {"role": row.role, "content": row.content}
        return named_message(row.content, engine, row.role)
    except OperatorError as error:
        if error.code.status != 404:
            raise
    return None


async def answered_response(
    services: Services,
    caller: Caller,
    body: ResponseBody,
    session_id: str | None,
    messages: list[dict[str, Json]],
) -> Answered | None:
    """The response whose tool calls ``messages`` have the results of; None where they have the
    calls, too. Raises OperatorError(validation_error) where calls and results do not match."""
    results = open_results(messages)
    if not results:
        return None
    async for view in _responses_before(services, caller, body, session_id):
        shown = tool_calls_of(await services.history.tool_calls_of(view.reply_id), indexed=False)
        known = {call["id"] for call in shown}
        if view.message_id is not None and not known.isdisjoint(results):
            break
    else:
        raise OperatorError.invalid("input", f"there is no tool call {results[0]} before it")
    for identity in results:
        if identity not in known:
            raise OperatorError.invalid("input", f"there is no tool call {identity} before it")
    if missing := known.difference(results):
        raise OperatorError.invalid("input", f"it has no output of the call {min(missing)}")
    call = {"role": "assistant", "content": view.content or None, "tool_calls": shown}
    if view.content and any(message["role"] == "user" for message in messages):
        # The history has the question and the text; what follows them are the calls.
        return Answered(view.message_id, [{**call, "content": None}])
    asked = await asked_of(services, caller, view)
    message = await services.history.message(caller, view.message_id)
    question = {"role": "user", "content": asked.engine.content or message.content}
    before = [*(asked.engine.before or ()), *(asked.engine.input or [question]), call]
    return Answered(view.message_id, before)


async def continued(services: Services, caller: Caller, chat: Chat) -> Chat:
    """A chat whose conversation ends with results of tools, as a further reply to the message of
    its session that led to their calls; any other chat as it is."""
    messages = chat.engine.messages or []
    if not messages or messages[-1]["role"] != "tool":
        return chat
    kind, _, number = str(messages[-1]["tool_call_id"]).partition("_")
    call_id = ids.row_id(number) if kind == "call" else None
    if call_id is None:
        return chat
    try:
        call = await services.tool_calls.get(caller, call_id)
        reply = await services.history.reply(caller, call.message_id)
        if reply.message_id is None or reply.session_id != chat.session_id:
            return chat
        message = await services.history.message(caller, reply.message_id)
    except OperatorError as error:
        if error.code.status != 404:
            raise
        return chat
    return with_results(chat, message.id) if message.content == chat.message else chat


async def _responses_before(
    services: Services, caller: Caller, body: ResponseBody, session_id: str | None
) -> AsyncIterator[ReplyView]:
    """The response that the body names; else the last ones of the conversation, newest first: where
    the body is repeated, its own response is the last one by then."""
    if body.previous_response_id is not None:
        reply_id = protocol.reply_of(body.previous_response_id)
        assert reply_id is not None, "it was found before"
        yield await services.history.reply(caller, reply_id)
    elif session_id is not None:
        page = await services.history.page(caller, session_id, limit=NEWEST, before=None)
        for message in reversed(page.messages):
            if message.role == Role.ASSISTANT and message.reply_to:
                yield await services.history.reply(caller, message.id)
