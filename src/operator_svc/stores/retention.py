"""Rows that are kept for a limited time: the purges of all tables but the log of events."""

from __future__ import annotations

from typing import Literal

from operator_svc.db import Database
from operator_svc.stores.writes import RecordId

Kind = Literal["chat_keys", "feedback", "tool_calls", "browser_tasks"]

PURGES: dict[Kind, str] = {
    "chat_keys": "chat_keys_purge",
    "feedback": "feedback_purge",
    "tool_calls": "tool_calls_purge",
    "browser_tasks": "browser_tasks_purge",
}


class RetentionStore:
    """Deletes old rows. Ids grow with time, so each purge reads the lowest ones, by an index that
    is there anyway, and stops at the first page in which some are young. What was adopted under
    new ids so counts from then."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def purge(self, kind: Kind, days: float, limit: int) -> int:
        """Delete up to ``limit`` rows older than ``days``; how many were deleted."""
        return len(await self._db.write(PURGES[kind], RecordId, days=days, page=limit))
