"""operator_tool_call: tool calls of messages, and their results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from operator_svc.db import AsJson, Database, Reads
from operator_svc.models import Json, Record, ToolCall, ToolCallStatus
from operator_svc.protocol.event_data import ToolCallFact, data_of_record
from operator_svc.stores.events import RecordEvent
from operator_svc.stores.pages import PAGE_BYTES, Page, fetch_page
from operator_svc.stores.writes import insert_one, write_one


class ToolCallState(Record, frozen=True, kw_only=True):
    """The state of a tool call, what it was given and what came of it."""

    status: str
    duration_ms: int | None = None
    arguments: Json = None
    result: Json = None
    error: str | None = None


class WrittenToolCall(NamedTuple):
    """A tool call as it was stored, and the event that says so."""

    row: ToolCall
    event: RecordEvent


class ToolCallReads:
    """Reads the tool calls of messages, of any database that has them."""

    def __init__(self, db: Reads) -> None:
        self._db = db

    async def of_messages(
        self, message_ids: list[int], *, limit: int, size: int = PAGE_BYTES
    ) -> Page[ToolCall]:
        """The tool calls of these messages: those of the newest one first, each one's in
        order."""
        return await fetch_page(
            self._db, "tool_calls_of", ToolCall, message_ids=message_ids, limit=limit, size=size
        )

    async def page(
        self, message_id: int, *, after: int, limit: int, size: int = PAGE_BYTES
    ) -> Page[ToolCall]:
        """Tool calls of a message, oldest first, with ids greater than ``after``."""
        return await fetch_page(
            self._db,
            "tool_call_page",
            ToolCall,
            message_id=message_id,
            after=after,
            limit=limit,
            size=size,
        )


class ToolCallStore(ToolCallReads):
    """Reads and writes tool calls. Each write makes an event."""

    _db: Database

    def __init__(self, db: Database) -> None:
        super().__init__(db)

    async def get(self, tool_call_id: int, viewer: str | None = None) -> ToolCall | None:
        """The tool call, or None where there is none that ``viewer`` may see (None sees all)."""
        return await self._db.fetch_one(
            "tool_call_get", ToolCall, tool_call_id=tool_call_id, viewer=viewer
        )

    async def record(
        self, *, message_id: int, viewer: str | None, tool_name: str, state: ToolCallState
    ) -> WrittenToolCall | None:
        """Store one; None where there is no such message that ``viewer`` may see."""
        place: dict[str, Any] = {"message_id": message_id, "tool_name": tool_name}
        known = place | msgspec.structs.asdict(state)
        event = await insert_one(
            self._db, "tool_call_record", RecordEvent, viewer=viewer, **place, **_params(known)
        )
        if event is None:
            return None
        ended_at = None if state.status == ToolCallStatus.PENDING else event.ts
        row = ToolCall(id=event.id, created_at=event.ts, finished_at=ended_at, **known)
        return WrittenToolCall(row, event)

    async def finish(self, pending: ToolCall, state: ToolCallState) -> WrittenToolCall | None:
        """End a pending one; what is None stays. None where it has ended or is gone."""
        given = msgspec.structs.asdict(state)
        changes = {name: value for name, value in given.items() if value is not None}
        ended = msgspec.structs.replace(pending, **changes)
        params = _params(msgspec.structs.asdict(ended))
        event = await write_one(
            self._db, "tool_call_finish", RecordEvent, tool_call_id=ended.id, **params
        )
        if event is None:
            return None
        return WrittenToolCall(msgspec.structs.replace(ended, finished_at=event.ts), event)


def _params(known: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a write, from the columns of a call."""
    values = {name: known[name] for name in ToolCallState.__struct_fields__}
    values |= {name: _json(values[name]) for name in ("arguments", "result")}
    return values | {"data": data_of_record(ToolCallFact, known)}


def _json(value: Json) -> AsJson | None:
    return None if value is None else AsJson(value)
