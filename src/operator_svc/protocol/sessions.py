"""Sessions, their messages and their events, as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from operator_svc.protocol.closed_sets import MessageRole, MessageStatus
from operator_svc.protocol.events import EventName
from operator_svc.protocol.tool_calls import ToolCallView

Metadata = dict[str, Any]


class MessageView(msgspec.Struct, frozen=True):
    """A message in the history. The text of a running reply is the part stored so far; a failed
    reply has its code in ``metadata.error``. If it has more tool calls than fit,
    ``tool_calls_next`` is the ``cursor`` of the next ones in its own list."""

    id: int
    """The message's id."""
    role: MessageRole
    """The speaker."""
    content: str
    """The text."""
    status: MessageStatus
    """The message's state; only replies are ever anything but ``complete``."""
    timestamp: datetime
    """The time at which it was stored."""
    metadata: Metadata
    """A user's message: the metadata that the client sent. A reply: `provider`, `finish_reason`,
    `usage` and, of a failure, `error` and `detail`."""
    tool_calls: list[ToolCallView]
    """The tool calls of the message."""
    reply_to: int | None = None
    """The message that a reply answers."""
    tool_calls_next: str | UnsetType = UNSET
    """The ``cursor`` of the tool calls that do not stand here."""


class SessionFacts(msgspec.Struct, frozen=True):
    """The fields that every view of a session has."""

    session_id: str
    """The session's id."""
    user_id: str
    """The user that it belongs to."""
    source: str
    """The way that it came by: web, api or another."""
    created_at: datetime
    """The time at which it was stored."""
    updated_at: datetime
    """The time of its last event."""
    message_count: int
    """Messages and replies that it has."""


class SessionView(SessionFacts, frozen=True):
    """A session in the list of sessions."""

    metadata: Metadata
    """Metadata of the session, such as that of its conversation below `/v1`."""
    preview: str | UnsetType = UNSET
    """The beginning of its first message of a user, one line of 120 characters at most. Only in the
    list; absent where there is no such message, or no text in it."""


class SessionList(msgspec.Struct, frozen=True):
    """A page of sessions; ``next_cursor`` asks for the next one, null at the end."""

    sessions: list[SessionView]
    """The sessions, the last used first."""
    next_cursor: str | None
    """The ``cursor`` that asks for the next page; null at the end."""


class History(SessionFacts, frozen=True):
    """A page of a session's messages, oldest first; ``next_before`` asks for older ones."""

    messages: list[MessageView]
    """The messages, oldest first."""
    next_before: int | None
    """The ``before`` that asks for older messages; null where there are none."""


class EventView(msgspec.Struct, frozen=True):
    """A durable event, as the websocket's frame has it."""

    seq: int
    """The event's number within the session, without gaps."""
    event: EventName
    """The event's name."""
    session_id: str
    """The session's id."""
    ts: datetime
    """The time of the event."""
    data: Any
    """The event's own data."""


class EventList(msgspec.Struct, frozen=True):
    """Events of a session after a number; ``next_after`` asks for more, null at the end."""

    session_id: str
    """The session's id."""
    epoch: str
    """The session's epoch: numbers of events count within it alone."""
    seq: int
    """The number of the session's last event."""
    events: list[EventView]
    """The events, oldest first."""
    next_after: int | None
    """The ``after`` that asks for more; null at the end."""
