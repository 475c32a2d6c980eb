"""The metadata of a user's message: what a chat brought along, for one more reply to it."""

from __future__ import annotations

from typing import Any

import msgspec

from operator_svc.models import Message
from operator_svc.protocol.chat import ENGINE_FIELDS, NO_ENGINE_FIELDS, Chat, EngineFields


def message_metadata(chat: Chat) -> dict[str, Any]:
    """The metadata of the message of ``chat``: the client's, and what the service adds."""
    metadata = dict(chat.metadata)
    if chat.engine != NO_ENGINE_FIELDS:
        metadata[ENGINE_FIELDS] = chat.engine.kept()
    if chat.client_message_id is not None:
        metadata["client_message_id"] = chat.client_message_id
    return metadata


def as_before(chat: Chat, message: Message) -> Chat:
    """``chat`` with what its message brought for the engine, where it brings nothing itself."""
    kept = (message.metadata or {}).get(ENGINE_FIELDS)
    if kept is None or chat.engine != NO_ENGINE_FIELDS:
        return chat
    try:
        return msgspec.structs.replace(chat, engine=msgspec.convert(kept, EngineFields))
    except msgspec.ValidationError:  # a client's own field of that name
        return chat
