"""The metadata of a user's message: what a chat brought along, for one more reply to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Json, Message
from operator_svc.protocol.chat import Chat
from operator_svc.protocol.engine_fields import ENGINE_FIELDS, NO_ENGINE_FIELDS, EngineFields
from operator_svc.protocol.openai import turns_of
from operator_svc.protocol.response_input import parameters_of
from operator_svc.stores.message_rows import Exchange


def message_metadata(chat: Chat) -> dict[str, Any]:
    """The metadata of the message of ``chat``: the client's, and what the service adds."""
    metadata = dict(chat.metadata)
    if chat.engine != NO_ENGINE_FIELDS:
        metadata[ENGINE_FIELDS] = chat.engine.kept()
    if chat.client_message_id is not None and chat.renewal is None:
        metadata["client_message_id"] = chat.client_message_id
    return metadata


def item_metadata(kept: dict[str, Json]) -> dict[str, Any]:
    """The metadata of a message that was added as an item, of which ``kept`` is kept beside its
    text: the history has it without a reply."""
    return {ENGINE_FIELDS: {**kept, "item": True}}


def as_before(chat: Chat, message: Message) -> Chat:
    """``chat`` with what its message brought for the engine, where it brings nothing itself.

    Raises OperatorError(conflict) where that was too large to be kept: the engine would be asked
    something else.
    """
    if chat.engine != NO_ENGINE_FIELDS:
        return chat
    engine = kept_engine(message.metadata)
    if left_out := _left_out(message.metadata):
        raise OperatorError(
            ErrorCode.CONFLICT,
            f"the message came with fields that are too large to be kept ({', '.join(left_out)}):"
            " send it again as a new one",
        )
    history = chat.history
    if history is None and engine.messages is not None:
        last = max(i for i, said in enumerate(engine.messages) if said.get("role") == "user")
        history = turns_of(engine.messages[:last])
    return msgspec.structs.replace(chat, engine=engine, history=history)


def kept_engine(metadata: Mapping[str, Any] | None) -> EngineFields:
    """The fields for the engine that a message's metadata keep."""
    kept = (metadata or {}).get(ENGINE_FIELDS)
    if kept is None:
        return NO_ENGINE_FIELDS
    try:
        engine = msgspec.convert(kept, EngineFields)
    except msgspec.ValidationError:  # a client's own field of that name
        return NO_ENGINE_FIELDS
    if engine.response is None:
        return engine
    return msgspec.structs.replace(engine, parameters=parameters_of(engine.response))


def _left_out(metadata: Mapping[str, Any] | None) -> list[str]:
    """The fields for the engine that a message came with and does not keep."""
    kept = (metadata or {}).get(ENGINE_FIELDS)
    return kept.get("left_out", []) if isinstance(kept, dict) else []


def sent_messages(exchange: Exchange) -> list[dict[str, Json]] | None:
    """The messages of chat completions that the engine was sent for an exchange before its answer;
    None where they were its text alone, or are not kept."""
    for kept in (exchange.replied, exchange.asked):
        if not kept or not {"before", "input"}.isdisjoint(kept.get("left_out", ())):
            continue
        engine = kept_engine({ENGINE_FIELDS: kept})
        if engine.before or engine.input or engine.content:
            question = {"role": "user", "content": engine.content or exchange.question}
            return [*(engine.before or ()), *(engine.input or [question])]
    return None


def reply_metadata(chat: Chat) -> dict[str, Any]:
    """The metadata that a further reply to a message keeps of its own ``chat``, where that brings
    other fields for the engine than the message did: results of tools."""
    if chat.regenerate is None or chat.engine == NO_ENGINE_FIELDS:
        return {}
    return {ENGINE_FIELDS: {**chat.engine.kept(), "metadata": chat.metadata}}


def kept_of_reply(
    metadata: Mapping[str, Any],
) -> tuple[EngineFields, dict[str, Any]] | None:
    """The fields for the engine and the client's metadata that a reply keeps of its own."""
    kept = metadata.get(ENGINE_FIELDS)
    if kept is None:
        return None
    return kept_engine(metadata), kept.get("metadata", {})


def clients_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metadata that the client gave its message."""
    own = (ENGINE_FIELDS, "client_message_id")
    return {name: value for name, value in (metadata or {}).items() if name not in own}
