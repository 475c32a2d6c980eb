"""operator_tool_call: tool calls of messages, and their results."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from operator_svc.db import AsJson, Database, Reads
from operator_svc.models import Json, ToolCall, ToolCallStatus
from operator_svc.protocol.event_data import ToolCallFact, data_of_record
from operator_svc.stores.events import RecordEvent
from operator_svc.stores.pages import PAGE_BYTES, Page, fetch_page
from operator_svc.stores.writes import insert_one, write_one


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
        self,
        *,
        message_id: int,
        viewer: str | None,
        tool_name: str,
        status: str,
        duration_ms: int | None,
        arguments: Json,
        result: Json,
        error: str | None,
    ) -> WrittenToolCall | None:
        """Store one; None where there is no such message that ``viewer`` may see."""
        plain: dict[str, Any] = {
            "message_id": message_id,
            "tool_name": tool_name,
            "status": status,
            "duration_ms": duration_ms,
            "error": error,
        }
        event = await insert_one(
            self._db,
            "tool_call_record",
            RecordEvent,
            viewer=viewer,
            arguments=_json(arguments),
            result=_json(result),
            data=data_of_record(ToolCallFact, plain),
            **plain,
        )
        if event is None:
            return None
        row = ToolCall(
            id=event.id,
            **plain,
            arguments=arguments,
            result=result,
            created_at=event.ts,
            finished_at=None if status == ToolCallStatus.PENDING else event.ts,
        )
        return WrittenToolCall(row, event)

    async def finish(
        self,
        pending: ToolCall,
        *,
        status: str,
        duration_ms: int | None,
        arguments: Json,
        result: Json,
        error: str | None,
    ) -> WrittenToolCall | None:
        """End a pending one; what is None stays. None where it has ended or is gone."""
        given = {
            "status": status,
            "duration_ms": duration_ms,
            "arguments": arguments,
            "result": result,
            "error": error,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        ended = msgspec.structs.replace(pending, **changes)
        event = await write_one(
            self._db,
            "tool_call_finish",
            RecordEvent,
            tool_call_id=ended.id,
            status=ended.status,
            duration_ms=ended.duration_ms,
            arguments=_json(ended.arguments),
            result=_json(ended.result),
            error=ended.error,
            data=data_of_record(ToolCallFact, msgspec.structs.asdict(ended)),
        )
        if event is None:
            return None
        return WrittenToolCall(msgspec.structs.replace(ended, finished_at=event.ts), event)


def _json(value: Json) -> AsJson | None:
    return None if value is None else AsJson(value)
