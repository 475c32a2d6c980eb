"""operator_feedback_hour: feedback counted by hour and latency, and the statistics of it.

Triggers note each change of marked feedback in operator_feedback_change, whoever makes it; from
there it comes into the hours. What an older version stores is not marked, and not counted so far.
"""

from __future__ import annotations

from operator_svc.db import ConstraintViolation, Database
from operator_svc.models import Record


class EngineStats(Record, frozen=True):
    """Statistics of an engine's feedback; latencies, in milliseconds, are of successes only."""

    engine: str
    calls: int
    successes: int
    tokens: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None


class CountedRow(Record, frozen=True):
    """A row that was counted, marked or deleted."""

    id: int


class FeedbackHourStore:
    """Counts feedback by hour, and reads engines' statistics. Any number of processes may count."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def engines(self, seconds: int, limit: int) -> list[EngineStats]:
        """Statistics of the feedback of the last ``seconds``, of the engines with most calls.

        Counted or not, all of it is in; latencies are rounded, to 2.5 %.
        """
        return await self._db.fetch("feedback_engines", EngineStats, seconds=seconds, page=limit)

    async def count(self, limit: int) -> int:
        """Bring up to ``limit`` changes into their hours; how many there were."""
        return len(await self._db.write("feedback_count", CountedRow, page=limit))

    async def mark(self, limit: int) -> int:
        """Mark up to ``limit`` rows of an older version, the newest first, and delete those of
        them that a later one of the same reply replaces; 0 where no more is to be done now.

        A client that gives feedback on one of the replies in this very moment comes first.
        """
        try:
            return len(await self._db.write("feedback_mark", CountedRow, page=limit))
        except ConstraintViolation as violation:
            if violation.kind != "unique":
                raise
            return 0

    async def purge(self, days: float, limit: int) -> int:
        """Delete hours that are empty or older than ``days``, in pages; how many were deleted."""
        return len(await self._db.write("feedback_hours_purge", CountedRow, days=days, page=limit))
