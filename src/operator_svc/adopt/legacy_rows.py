"""Rows of the legacy tables: their columns, and the keys by which they are known again.

A row is known again by its legacy id and a hash of what never changes in it, not by the file: a
copy of the file, or the file after it has grown, brings only what is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from operator_svc.adopt.values import mark
from operator_svc.protocol.text import storable

SESSION = "operator_session"
MESSAGE = "operator_message"
TOOL_CALL = "operator_tool_call"
TASK = "operator_browser_task"
ADJUSTMENT = "operator_switch_adjustment"
FEEDBACK = "operator_switch_feedback"

READ: dict[str, tuple[str, ...]] = {
    SESSION: ("id", "session_id", "user_id", "source", "created_at", "updated_at"),
    MESSAGE: ("id", "session_id", "role", "content", "created_at", "message_metadata"),
    TOOL_CALL: (
        "id", "message_id", "tool_name", "created_at",
        "status", "duration_ms", "result", "error",
    ),
    TASK: (
        "id", "session_id", "url", "created_at",
        "status", "result", "error", "error_message", "executed_at", "completed_at",
        "snapshot_path", "screenshot_path", "text_snippet",
    ),
    ADJUSTMENT: (
        "id", "session_id", "message_id", "before_config", "after_config", "reason",
        "engine_used", "created_at",
        "applied", "applied_at", "success", "latency_ms", "tokens_used", "error_message",
        "feedback_timestamp",
    ),
}  # fmt: skip
"""The columns of the legacy tables. The first ones, in number as MARKED says, never change."""

MARKED = {SESSION: 5, MESSAGE: 5, TOOL_CALL: 4, TASK: 4, ADJUSTMENT: 8}

MAX_KEPT_ID = 2**52
"""Higher ids are not kept: JavaScript clients could not read those that follow."""


def row_key(table: str, row: Sequence[Any]) -> str:
    """The key of a row: its legacy id, and a hash of what never changes in it."""
    old_id = row[0] if type(row[0]) is int else storable(str(row[0]))[:64]
    return f"{old_id}:{mark(*row[: MARKED[table]])}"


def missing_row_key(name: object) -> str:
    """The key of a row that was made because others named it."""
    return f"missing:{storable(str(name))[:100]}"


def is_keepable(old_id: Any) -> bool:
    """True where an id can be ours too."""
    return type(old_id) is int and 1 <= old_id <= MAX_KEPT_ID


def reference(value: Any) -> int | str:
    """A legacy id as another row names it, whatever type it was stored with."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    plain = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if plain.isascii() and plain.isdigit() and len(plain) < 19:
        return int(plain)
    return storable(plain)
