"""OpenAI's conversations: sessions, and their messages as items."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from operator_svc.errors import OperatorError
from operator_svc.models import MAX_MESSAGE_CHARS, MAX_REPLY_CHARS, Json, Role, Session
from operator_svc.protocol.engine_fields import MAX_METADATA_BYTES, EngineFields
from operator_svc.protocol.openai import text_of
from operator_svc.protocol.response_body import InputItem, Pairs
from operator_svc.protocol.response_input import call_of, message_of, result_of
from operator_svc.protocol.responses import conversation_id

Items = Annotated[list[InputItem], Meta(max_length=20)]


class ConversationBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body that makes a conversation."""

    items: Items | None = None
    """Items to begin with."""
    metadata: Pairs | None = None
    """Metadata of the session."""


class ConversationUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The body that replaces a conversation's metadata."""

    metadata: Pairs | None
    """Metadata in place of what there was."""


class NewItems(msgspec.Struct, frozen=True, kw_only=True):
    """The body that adds items."""

    items: Annotated[list[InputItem], Meta(min_length=1, max_length=20)]
    """Items to add."""


class ConversationView(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation, which is a session."""

    id: str
    """``conv_`` and the session's id."""
    object: str = "conversation"
    """The kind of object."""
    created_at: int
    """The time at which it was made, in seconds since 1970."""
    metadata: dict[str, str]
    """Metadata of the session, as far as it is text."""


class ConversationDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that was deleted."""

    id: str
    """``conv_`` and the session's id."""
    object: str = "conversation.deleted"
    """The kind of object."""
    deleted: bool = True
    """Always true."""


def conversation_of(session: Session) -> ConversationView:
    """A session as a conversation, with those of its metadata that are text."""
    metadata = {n: v for n, v in (session.metadata or {}).items() if isinstance(v, str)}
    return ConversationView(
        id=conversation_id(session.session_id),
        created_at=int(session.created_at.timestamp()),
        metadata=metadata,
    )


class Said(NamedTuple):
    """A message that is added for an item: its role, its text, and what its metadata keep of the
    item beside the text."""

    role: str
    text: str
    kept: dict[str, Json]


ROLES = {
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
}
"""Roles of items, and those of the messages that they are kept as."""


def said(items: list[InputItem]) -> list[Said]:
    """New items as messages, one for each; raises OperatorError(validation_error), which names the
    field."""
    return [_said(item, f"items[{index}]") for index, item in enumerate(items)]


def _said(item: InputItem, field: str) -> Said:
    engine, text, role = EngineFields(), "", Role.TOOL
    match item.type:
        case "message":
            role, text, engine = _message(item, field)
        case "function_call":
            message = {"role": "assistant", "content": None, "tool_calls": [call_of(item, field)]}
            engine = EngineFields(input=[message])
        case "function_call_output":
            message = result_of(item, field)
            text = text_of(message["content"])
            if len(text) > MAX_REPLY_CHARS:
                raise OperatorError.invalid(
                    f"{field}.output", f"it has more than {MAX_REPLY_CHARS} characters"
                )
            if isinstance(message["content"], str):
                del message["content"]  # it is the message's text
            engine = EngineFields(input=[message])
        case "reasoning":
            engine = EngineFields(reasoning=_reasoning(item, field))
        case _:
            raise OperatorError.invalid(f"{field}.type", "such items cannot be added")
    kept = engine.kept()
    if "left_out" in kept:
        raise OperatorError.invalid(
            field, f"it has more than {MAX_METADATA_BYTES} bytes beside its text"
        )
    return Said(role, text, kept)


def _message(item: InputItem, field: str) -> tuple[Role, str, EngineFields]:
    message = message_of(item, field)
    role, content = ROLES[message["role"]], message["content"]
    text = text_of(content)
    parts = content if isinstance(content, list) else None
    most = MAX_REPLY_CHARS if role is Role.ASSISTANT else MAX_MESSAGE_CHARS
    if (not text and parts is None) or len(text) > most:
        raise OperatorError.invalid(f"{field}.content", f"it must have 1 to {most} characters")
    if parts is not None and role is not Role.USER:
        raise OperatorError.invalid(f"{field}.content", "only a user has more than text")
    return role, text, EngineFields(content=parts)


def _reasoning(item: InputItem, field: str) -> dict[str, Json]:
    """A reasoning item as it came, without its id: it gets one of its own."""
    if item.summary is None:
        raise OperatorError.invalid(f"{field}.summary", "it is missing")
    if isinstance(item.content, str):
        raise OperatorError.invalid(f"{field}.content", "it must be a list of parts")
    for index, part in enumerate(item.content or ()):
        if part.type != "reasoning_text" or part.text is None:
            raise OperatorError.invalid(f"{field}.content[{index}]", "it must be a reasoning_text")
    plain = msgspec.to_builtins(item)
    names = ("summary", "content", "encrypted_content")
    return {name: plain[name] for name in names if plain.get(name) is not None}
