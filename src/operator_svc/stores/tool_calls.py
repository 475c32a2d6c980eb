"""operator_tool_call: what tools were called for a message, and what came of it."""

from __future__ import annotations

from operator_svc.db import Database
from operator_svc.models import ToolCall


class ToolCallStore:
    """Reads tool calls."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of_messages(self, message_ids: list[int]) -> list[ToolCall]:
        """The tool calls of these messages, in order."""
        return await self._db.fetch("tool_calls_of", ToolCall, message_ids=message_ids)
