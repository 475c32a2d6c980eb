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
    """A message as the history shows it. The text of a reply that is being written is what is
    stored of it by now; a failed reply has its code in ``metadata.error``. Where it has more tool
    calls than fit, ``tool_calls_next`` is the ``cursor`` of the next ones in its own list."""

    id: int
    role: MessageRole
    content: str
    status: MessageStatus
    timestamp: datetime
    metadata: Metadata
    tool_calls: list[ToolCallView]
    reply_to: int | None = None
    tool_calls_next: str | UnsetType = UNSET


class SessionFacts(msgspec.Struct, frozen=True):
    """The fields that every view of a session has."""

    session_id: str
    user_id: str
    source: str
    created_at: datetime
    updated_at: datetime
    message_count: int


class SessionView(SessionFacts, frozen=True):
    """A session in the list of sessions."""

    metadata: Metadata


class SessionList(msgspec.Struct, frozen=True):
    """A page of sessions; ``next_cursor`` asks for the next one, null at the end."""

    sessions: list[SessionView]
    next_cursor: str | None


class History(SessionFacts, frozen=True):
    """A page of a session's messages, oldest first; ``next_before`` asks for older ones."""

    messages: list[MessageView]
    next_before: int | None


class EventView(msgspec.Struct, frozen=True):
    """A durable event, as the websocket's frame has it."""

    seq: int
    event: EventName
    session_id: str
    ts: datetime
    data: Any


class EventList(msgspec.Struct, frozen=True):
    """Events of a session after a number; ``next_after`` asks for more, null at the end."""

    session_id: str
    epoch: str
    seq: int
    events: list[EventView]
    next_after: int | None
