"""Chats: what asks for a reply, whichever transport it comes by, and the answers to it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from operator_svc.errors import OperatorError
from operator_svc.models import MAX_MESSAGE_CHARS
from operator_svc.protocol import decoding
from operator_svc.protocol.closed_sets import MessageStatus
from operator_svc.protocol.engine_fields import (
    ENGINE_FIELDS,
    MAX_METADATA_BYTES,
    NO_ENGINE_FIELDS,
    EngineFields,
)
from operator_svc.protocol.ids import KeyText, RowId, SessionId, UserId
from operator_svc.protocol.intents import Renewal
from operator_svc.protocol.sessions import Metadata
from operator_svc.protocol.tool_calls import ToolCallView

Text = Annotated[str, Meta(min_length=1, max_length=MAX_MESSAGE_CHARS)]
Hint = Annotated[str, Meta(max_length=200)]
Summary = Annotated[str, Meta(max_length=100_000)]


class Turn(msgspec.Struct, frozen=True):
    """One message of a conversation that the client keeps itself."""

    role: Annotated[str, Meta(max_length=32)]
    """The speaker."""
    content: str
    """The text."""


class ChatBody(msgspec.Struct, frozen=True):
    """The body of ``POST /operator/chat``: ``message``, or ``messages`` whose last one by the
    user is the message."""

    message: Text | None = None
    """The message."""
    messages: Annotated[list[Turn], Meta(max_length=1000)] | None = None
    """The conversation, where the client keeps it; instead of ``message``."""
    session_id: SessionId | None = None
    """The session; a new one if not given."""
    user_id: UserId | None = None
    """The user of a new session."""
    context_summary: Summary | None = None
    """A summary of what was said elsewhere, for the engine."""
    metadata: Metadata | None = None
    """Metadata of the message."""
    provider_hint: Hint | None = None
    """The engine to prefer."""
    client_message_id: KeyText | None = None
    """An idempotency key: a chat with the same key is made once."""
    stream: bool | None = None
    """True for a stream of events, as ``Accept: text/event-stream`` asks for too."""


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """A chat from any transport. ``history`` is None to use Operator's own; ``regenerate`` is the
    id of the message that gets another reply. Leaving cancels a chat that is ``awaited``, and a
    retry starts it again. ``renewal`` is set if ``client_message_id`` is the key of an intent,
    which no client has chosen."""

    message: str
    session_id: str | None = None
    user_id: str | None = None
    context_summary: str | None = None
    metadata: Metadata = {}
    provider_hint: str | None = None
    client_message_id: str | None = None
    renewal: Renewal | None = None
    history: list[Turn] | None = None
    regenerate: int | None = None
    source: str = "api"
    engine: EngineFields = NO_ENGINE_FIELDS
    awaited: bool = False

    def body_hash(self) -> bytes:
        """SHA-256 of the request, independent of its transport and session; empty where the key
        is an intent's, which is made of all that is asked."""
        if self.renewal is not None:
            return b""
        asked: tuple[Any, ...] = (
            self.message,
            self.context_summary,
            self.metadata,
            self.provider_hint,
            self.history,
            self.regenerate,
        )
        if self.engine != NO_ENGINE_FIELDS:  # the hashes of chats without any are stored already
            asked = (*asked, self.engine)
        return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).digest()


def chat_of(body: ChatBody, *, key: str | None = None, source: str = "api") -> Chat:
    """The chat that a body asks for; ``key`` is the header Idempotency-Key.

    Raises OperatorError(validation_error).
    """
    message, history = body.message, None
    if message is None and body.messages is not None:
        message, history = _last_of_user(body.messages)
    return new_chat(
        message,
        body.metadata,
        body.provider_hint,
        session_id=body.session_id,
        user_id=body.user_id,
        context_summary=body.context_summary,
        client_message_id=body.client_message_id or key,
        history=history,
        source=source,
    )


def new_chat(
    message: str | None, metadata: Metadata | None, provider_hint: str | None, **fields: Any
) -> Chat:
    """A chat with these ``fields`` of Chat; its metadata may say what to regenerate, and which
    provider to prefer. Raises OperatorError(validation_error).
    """
    metadata = checked_metadata(metadata)
    regenerate = _regenerate(metadata)
    if message is None and regenerate is None:
        raise OperatorError.invalid("message", "it is missing")
    if provider_hint is None and isinstance(metadata.get("provider_hint"), str):
        provider_hint = metadata["provider_hint"][:200]
    return Chat(
        message=message or "",
        metadata=metadata,
        provider_hint=provider_hint or None,
        regenerate=regenerate,
        **fields,
    )


def checked_metadata(metadata: Metadata | None) -> Metadata:
    """A client's metadata of a message; raises OperatorError(validation_error)."""
    if not metadata:
        return {}
    metadata = dict(metadata)
    decoding.check(decoding.size_faults("metadata", metadata, MAX_METADATA_BYTES))
    if ENGINE_FIELDS in metadata:
        # A regenerate sends it to the engine: it must have come by way of the checks of /v1.
        raise OperatorError.invalid(
            f"metadata.{ENGINE_FIELDS}", "Operator keeps fields of its own there"
        )
    return metadata


def _regenerate(metadata: Metadata) -> int | None:
    if (value := metadata.get("regenerate")) is None:
        return None
    try:
        return msgspec.convert(value, RowId)
    except msgspec.ValidationError:
        raise OperatorError.invalid("metadata.regenerate", "it must be a message's id") from None


def _last_of_user(messages: list[Turn]) -> tuple[str, list[Turn]]:
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            text = messages[index].content
            if not 1 <= len(text) <= MAX_MESSAGE_CHARS:
                raise OperatorError.invalid(
                    f"messages[{index}].content",
                    f"it must have 1 to {MAX_MESSAGE_CHARS} characters",
                )
            return text, messages[:index]
    raise OperatorError.invalid("messages", "no message has the role user")


class ChatAnswer(msgspec.Struct, frozen=True):
    """The answer of a chat; ``response`` and ``reply`` are the same text."""

    session_id: str
    """The session's id."""
    response: str
    """The text of the reply."""
    reply: str
    """The same as ``response``."""
    message_id: int
    """The message's id."""
    reply_id: int
    """The reply's id."""
    tool_calls: list[ToolCallView]
    """The tool calls of the reply."""
    metadata: Metadata
    """`provider`, `finish_reason`, `usage` and, of a failure, `error` and `detail`."""


class InterfaceChatAnswer(ChatAnswer, frozen=True, kw_only=True):
    """The answer of a chat to VX11's newer interface; ``degraded`` where it is not whole."""

    degraded: bool
    """True where the reply is not whole."""
    provider_used: str | None
    """The engine that wrote the reply."""


class ChatPending(msgspec.Struct, frozen=True):
    """The answer of a chat whose reply is still being written, and when it began."""

    session_id: str
    """The session's id."""
    message_id: int
    """The message's id."""
    reply_id: int
    """The reply's id."""
    created_at: datetime
    """The time at which the reply began."""
    status: str = "streaming"
    """Always ``streaming``."""


class ReplyView(msgspec.Struct, frozen=True):
    """A reply in its current state. ``end`` is its length in code points."""

    reply_id: int
    """The reply's id."""
    message_id: int | None
    """The message that it answers."""
    session_id: str
    """The session's id."""
    status: MessageStatus
    """The reply's state."""
    content: str
    """The text so far."""
    end: int
    """The code points of the text."""
    metadata: Metadata
    """`provider`, `finish_reason`, `usage` and, of a failure, `error` and `detail`."""
    created_at: datetime
    """The time at which it began."""
    finished_at: datetime | None
    """The time at which it ended."""
