"""The data of durable events, as structs: what ``/asyncapi.json`` says of them is made from these.

Those about records are the record without its large parts (texts of replies excepted).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from operator_svc.protocol import events as names
from operator_svc.protocol.browser import BrowserTaskFact
from operator_svc.protocol.closed_sets import MessageRole
from operator_svc.protocol.sessions import Metadata
from operator_svc.protocol.switch import AdjustmentView, FeedbackFact
from operator_svc.protocol.tool_calls import ToolCallStatus

ReplyEnding = Annotated[
    Literal["complete", "failed", "cancelled", "interrupted"], Meta(title="ReplyEnding")
]


class SessionCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A session was made; ``source`` is web, api or another way in, and ``epoch`` what a client
    that was there before it resumes with."""

    session_id: str
    """The session's id."""
    epoch: str
    """The session's epoch: numbers of events count within it alone."""
    user_id: str
    """The user that it belongs to."""
    source: str
    """The way that it came by: web, api or another."""


class SessionDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The session is gone with all that belonged to it, its events too."""

    session_id: str
    """The session's id."""


class MessageCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A message is stored."""

    message_id: int
    """The message's id."""
    role: MessageRole
    """The speaker."""
    content: str
    """The text."""
    status: Literal["complete"]
    """Always ``complete``."""
    metadata: Metadata
    """The metadata that the client sent, and its `client_message_id`."""
    timestamp: datetime
    """The time at which it was stored."""


class MessageDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """A message or a reply was deleted. The log shows this event also in place of earlier events
    about it."""

    message_id: int
    """The message's id."""


class ReplyStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A reply to ``message_id`` is being written."""

    reply_id: int
    """The reply's id."""
    message_id: int | None
    """The message that it answers."""
    status: Literal["streaming"]
    """Always ``streaming``."""


class ReplyEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A reply ended: ``content`` is its whole text and replaces what deltas gave; ``length``
    counts code points; ``error`` is the code of a failure."""

    reply_id: int
    """The reply's id."""
    message_id: int | None
    """The message that it answers."""
    status: ReplyEnding
    """The way that it ended."""
    content: str
    """The whole text."""
    length: int
    """The code points of the text."""
    metadata: Metadata
    """`provider`, `finish_reason`, `usage` and, of a failure, `error` and `detail`."""
    error: str | UnsetType = UNSET
    """The error's code, where it failed."""


class ToolCallFact(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call without its arguments and result."""

    id: int
    """The tool call's id."""
    message_id: int
    """The message that it belongs to."""
    tool_name: str
    """The tool's name."""
    status: ToolCallStatus
    """The call's state."""
    duration_ms: int | None
    """Milliseconds that it took."""
    error: str | None
    """The reason of a failure."""
    created_at: datetime
    """The time at which it was stored."""
    finished_at: datetime | None
    """The time at which it ended."""


_RECORDS: dict[str, type[msgspec.Struct]] = {
    "tool_call": ToolCallFact,
    "browser_task": BrowserTaskFact,
    "switch_adjustment": AdjustmentView,
    "switch_feedback": FeedbackFact,
}

EVENT_DATA: dict[str, type[msgspec.Struct]] = {
    names.SESSION_CREATED: SessionCreated,
    names.MESSAGE_CREATED: MessageCreated,
    names.MESSAGE_DELETED: MessageDeleted,
    names.REPLY_STARTED: ReplyStarted,
    **dict.fromkeys(sorted(names.REPLY_ENDINGS), ReplyEnded),
    names.SESSION_DELETED: SessionDeleted,
    **{name: _RECORDS[name.partition(".")[0]] for name in names.RECORD_EVENTS},
}
"""The struct of each event's ``data``."""


def data_of_record(kind: type[msgspec.Struct], known: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a record's event: the fields of ``kind``, as far as they are ``known``.

    The write adds what only the database knows: the id of a new record, and its own time.
    """
    data: dict[str, Any] = msgspec.to_builtins(
        {name: known.get(name) for name in kind.__struct_fields__}
    )
    return data
