"""The durable events of a session, and their data; live and replayed they are the same."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from operator_svc.protocol.closed_sets import named

SESSION_CREATED = "session.created"
SESSION_DELETED = "session.deleted"
MESSAGE_CREATED = "message.created"
MESSAGE_DELETED = "message.deleted"
REPLY_STARTED = "reply.started"
REPLY_ENDINGS = frozenset(
    {"reply.completed", "reply.failed", "reply.cancelled", "reply.interrupted"}
)
"""The last events of a reply; each reply has exactly one."""

TOOL_CALL_RECORDED = "tool_call.recorded"
TASK_QUEUED = "browser_task.queued"
TASK_STARTED = "browser_task.started"
TASK_COMPLETED = "browser_task.completed"
TASK_FAILED = "browser_task.failed"
TASK_CANCELLED = "browser_task.cancelled"
ADJUSTMENT_RECORDED = "switch_adjustment.recorded"
ADJUSTMENT_APPLIED = "switch_adjustment.applied"
ADJUSTMENT_REVERTED = "switch_adjustment.reverted"
ADJUSTMENT_FAILED = "switch_adjustment.failed"
FEEDBACK_RECORDED = "switch_feedback.recorded"

RECORD_EVENTS = (
    TOOL_CALL_RECORDED,
    TASK_QUEUED,
    TASK_STARTED,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_CANCELLED,
    ADJUSTMENT_RECORDED,
    ADJUSTMENT_APPLIED,
    ADJUSTMENT_REVERTED,
    ADJUSTMENT_FAILED,
    FEEDBACK_RECORDED,
)
"""Events about records; their data is the record without its large parts."""
EventName = Annotated[
    str,
    named(
        "EventName",
        (
            SESSION_CREATED,
            SESSION_DELETED,
            MESSAGE_CREATED,
            MESSAGE_DELETED,
            REPLY_STARTED,
            *sorted(REPLY_ENDINGS),
            *RECORD_EVENTS,
        ),
    ),
]


def session_created(session_id: str, user_id: str, source: str) -> dict[str, Any]:
    """The data of ``session.created`` as it is stored. Readers of it add ``epoch``, which changes
    when the database is restored."""
    return {"session_id": session_id, "user_id": user_id, "source": source}


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
