"""operator_tool_call: what tools were called for a message, and what came of it."""

from __future__ import annotations

from datetime import datetime

from operator_svc.db import AsJson, Database
from operator_svc.models import Json, ToolCall


class WrittenToolCall(ToolCall, frozen=True):
    """A tool call as it was stored, and the event of its session that says so."""

    session_id: str
    seq: int
    ts: datetime
    data: Json


class ToolCallStore:
    """Reads and writes tool calls. Each write makes an event."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of_messages(self, message_ids: list[int]) -> list[ToolCall]:
        """The tool calls of these messages, in order."""
        return await self._db.fetch("tool_calls_of", ToolCall, message_ids=message_ids)

    async def page(self, message_id: int, *, after: int, limit: int) -> list[ToolCall]:
        """Tool calls of a message, oldest first, with ids greater than ``after``."""
        return await self._db.fetch(
            "tool_call_page", ToolCall, message_id=message_id, after=after, page=limit
        )

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
        rows = await self._db.write(
            "tool_call_record",
            WrittenToolCall,
            message_id=message_id,
            viewer=viewer,
            tool_name=tool_name,
            status=status,
            duration_ms=duration_ms,
            arguments=_json(arguments),
            result=_json(result),
            error=error,
        )
        return rows[0] if rows else None

    async def finish(
        self,
        *,
        tool_call_id: int,
        message_id: int | None,
        viewer: str | None,
        status: str,
        duration_ms: int | None,
        arguments: Json,
        result: Json,
        error: str | None,
    ) -> WrittenToolCall | None:
        """End a pending one; what is None stays. None where there is no pending one, of this
        message where one is named."""
        rows = await self._db.write(
            "tool_call_finish",
            WrittenToolCall,
            tool_call_id=tool_call_id,
            message_id=message_id,
            viewer=viewer,
            status=status,
            duration_ms=duration_ms,
            arguments=_json(arguments),
            result=_json(result),
            error=error,
        )
        return rows[0] if rows else None


def _json(value: Json) -> AsJson | None:
    return None if value is None else AsJson(value)
