"""Rows that the tests of the record stores write."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import msgspec

from operator_svc.db import Database
from operator_svc.protocol.event_data import EVENT_DATA
from operator_svc.stores.events import EventRow, EventStore
from operator_svc.stores.message_rows import Started
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.tool_calls import ToolCallState

POD, OTHER = "pod-1", "pod-2"


async def chat(database: Database, session_id: str = "s-1", user_id: str = "ann") -> Started:
    """A session with a message and a reply; its last event is number 3."""
    started = await MessageStore(database).start_new(
        session_id=session_id, epoch=str(uuid.uuid4()), user_id=user_id, source="api",
        content="hello", metadata={}, pod_id=POD, key=None,
    )  # fmt: skip
    assert started is not None
    return started


async def record_events(database: Database, session_id: str = "s-1") -> list[EventRow]:
    """The events after those that ``chat`` makes. Each has the data that the document describes:
    all fields and no other."""
    rows = (await EventStore(database).after(session_id, 3, 100)).rows
    for row in rows:
        assert set(row.data) == set(EVENT_DATA[row.event].__struct_fields__)
        msgspec.convert(row.data, EVENT_DATA[row.event])
    return rows


def moment(text: str | None) -> datetime | None:
    """A time in an event's data."""
    return None if text is None else datetime.fromisoformat(text)


def feedback(
    engine: str, latency_ms: int = 10, *, success: bool = True, **fields: Any
) -> dict[str, Any]:
    """The parameters of FeedbackStore.record."""
    return {
        "session_id": None, "viewer": None, "message_id": None, "engine": engine,
        "success": success, "latency_ms": latency_ms, "tokens_used": 5, "error_message": None,
        **fields,
    }  # fmt: skip


CONFIG: dict[str, Any] = {
    "before_config": {"mode": "ECO"},
    "after_config": {"mode": "CRITICAL", "x": [1.0, True, None]},
}


def adjustment(**fields: Any) -> dict[str, Any]:
    """The parameters of AdjustmentStore.record."""
    return {
        "session_id": None, "viewer": None, "message_id": None, "reason": "why", **CONFIG,
        **fields,
    }  # fmt: skip


def tool_call(message_id: int, *, viewer: str | None = None, **fields: Any) -> dict[str, Any]:
    """The parameters of ToolCallStore.record."""
    known: dict[str, Any] = {
        "status": "ok", "duration_ms": 7, "arguments": {"q": 1}, "result": [1, "two", None],
    }  # fmt: skip
    return {
        "message_id": message_id,
        "viewer": viewer,
        "tool_name": "grep",
        "state": ToolCallState(**(known | fields)),
    }
