"""OpenAI's conversations: sessions, and their messages as items."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from operator_svc.errors import OperatorError
from operator_svc.models import MAX_MESSAGE_CHARS, MAX_REPLY_CHARS, Json, Role, Session
from operator_svc.protocol.openai import text_of
from operator_svc.protocol.response_body import InputItem, Pairs
from operator_svc.protocol.response_input import messages_of
from operator_svc.protocol.responses import conversation_id

Items = Annotated[list[InputItem], Meta(max_length=20)]


class ConversationBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body that makes a conversation."""

    items: Items | None = None
    """Messages to begin with."""
    metadata: Pairs | None = None
    """Metadata of the session."""


class ConversationUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The body that replaces a conversation's metadata."""

    metadata: Pairs | None
    """Metadata in place of what there was."""


class NewItems(msgspec.Struct, frozen=True, kw_only=True):
    """The body that adds items."""

    items: Annotated[list[InputItem], Meta(min_length=1, max_length=20)]
    """Messages to add."""


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
    """A message that is added: its role, its text, and its parts where they are more than text."""

    role: str
    text: str
    parts: list[Json] | None


ROLES = {
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
}
"""Roles of items, and those of the messages that they are kept as."""


def said(items: list[InputItem]) -> list[Said]:
    """New items as messages; raises OperatorError(validation_error), which names the field."""
    for index, item in enumerate(items):
        if item.type != "message":
            raise OperatorError.invalid(f"items[{index}].type", "only messages can be added")
    found = []
    for index, message in enumerate(messages_of(items, "items")):
        role, content = ROLES[message["role"]], message["content"]
        text = text_of(content)
        parts = content if isinstance(content, list) else None
        most = MAX_REPLY_CHARS if role is Role.ASSISTANT else MAX_MESSAGE_CHARS
        if (not text and parts is None) or len(text) > most:
            raise OperatorError.invalid(
                f"items[{index}].content", f"it must have 1 to {most} characters"
            )
        if parts is not None and role is not Role.USER:
            raise OperatorError.invalid(f"items[{index}].content", "only a user has more than text")
        found.append(Said(role, text, parts))
    return found
