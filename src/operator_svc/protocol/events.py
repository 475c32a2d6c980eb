"""The durable events of a session, and their data; live and replayed they are the same."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from operator_svc.models import Message

SESSION_CREATED = "session.created"
SESSION_DELETED = "session.deleted"
MESSAGE_CREATED = "message.created"
REPLY_STARTED = "reply.started"
REPLY_ENDINGS = frozenset(
    {"reply.completed", "reply.failed", "reply.cancelled", "reply.interrupted"}
)
"""The last events of a reply; each reply has exactly one."""

RECORD_EVENTS = (
    "tool_call.recorded",
    "browser_task.queued",
    "browser_task.started",
    "browser_task.completed",
    "browser_task.failed",
    "browser_task.cancelled",
    "switch_adjustment.recorded",
    "switch_adjustment.applied",
    "switch_adjustment.reverted",
    "switch_adjustment.failed",
    "switch_feedback.recorded",
)
"""Events about records; their data is the record without its large parts."""


def message_created(
    message_id: int, role: str, content: str, metadata: Any, created_at: datetime
) -> dict[str, Any]:
    """The data of ``message.created``."""
    return {
        "message_id": message_id,
        "role": role,
        "content": content,
        "status": "complete",
        "metadata": metadata or {},
        "timestamp": created_at,
    }


def reply_started(reply_id: int, message_id: int | None) -> dict[str, Any]:
    """The data of ``reply.started``."""
    return {"reply_id": reply_id, "message_id": message_id, "status": "streaming"}


def reply_ended(
    reply_id: int, message_id: int | None, status: str, content: str, metadata: Any
) -> dict[str, Any]:
    """The data of a reply's last event; its whole text replaces what deltas gave."""
    metadata = metadata or {}
    data = {
        "reply_id": reply_id,
        "message_id": message_id,
        "status": status,
        "content": content,
        "length": len(content),
        "metadata": metadata,
    }
    if "error" in metadata:
        data["error"] = metadata["error"]
    return data


def reply_ended_of(message: Message) -> dict[str, Any]:
    """The data of the last event of a reply that is stored."""
    return reply_ended(
        message.id, message.reply_to, message.status, message.content, message.metadata
    )
