"""operator_switch_feedback: how engines did, what Switch was told, and what it adds up to."""

from __future__ import annotations

from datetime import datetime

from operator_svc.db import Database
from operator_svc.models import Json, Record, SwitchFeedback


class WrittenFeedback(SwitchFeedback, frozen=True):
    """Feedback as it was stored, and the event that says so where it has a session."""

    seq: int | None
    ts: datetime | None
    data: Json


class Head(Record, frozen=True):
    """The oldest feedback of an engine that waits to be forwarded."""

    id: int


class Claimed(Record, frozen=True):
    """Feedback that this process forwards now. ``attempts`` are those that failed before."""

    id: int
    engine: str
    success: bool
    latency_ms: int
    tokens_used: int
    attempts: int


class EngineStats(Record, frozen=True):
    """What feedback says of an engine; latencies, in milliseconds, are of successes only."""

    engine: str
    calls: int
    successes: int
    tokens: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None


class FeedbackStore:
    """Keeps feedback. What has neither been forwarded nor given up is the outbox.

    Only the oldest waiting row of an engine is ever claimed, so whoever has one has the engine:
    that keeps the order, and one process at a time, without a lock that could be left behind.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    async def record(
        self,
        *,
        session_id: str | None,
        viewer: str | None,
        message_id: int | None,
        engine: str,
        success: bool,
        latency_ms: int,
        tokens_used: int,
        error_message: str | None,
    ) -> WrittenFeedback | None:
        """Store one; None where there is no such session that ``viewer`` may see."""
        rows = await self._db.write(
            "feedback_record",
            WrittenFeedback,
            session_id=session_id,
            viewer=viewer,
            message_id=message_id,
            engine=engine,
            success=success,
            latency_ms=latency_ms,
            tokens_used=tokens_used,
            error_message=error_message,
        )
        return rows[0] if rows else None

    async def heads(self, pod_id: str) -> list[int]:
        """Ids of what ``pod_id`` may claim now: one for each engine at most, oldest first.

        Among them is what it claimed before and neither settled nor gave back.
        """
        return [head.id for head in await self._db.fetch("feedback_heads", Head, pod_id=pod_id)]

    async def claim(self, feedback_id: int, pod_id: str) -> Claimed | None:
        """Mark a head; None where another process was faster."""
        rows = await self._db.write(
            "feedback_claim", Claimed, feedback_id=feedback_id, pod_id=pod_id
        )
        return rows[0] if rows else None

    async def free(self) -> int:
        """Take off the marks of processes that are gone; how many there were."""
        return len(await self._db.write("feedback_free", Head))

    async def settle(
        self, feedback_id: int, pod_id: str, *, given_up: bool, go_on: bool
    ) -> Claimed | None:
        """Mark a claimed row as forwarded or given up; with ``go_on`` the next one of its engine
        is claimed in the same write and returned."""
        rows = await self._db.write(
            "feedback_settle",
            Claimed,
            feedback_id=feedback_id,
            pod_id=pod_id,
            given_up=given_up,
            go_on=go_on,
        )
        return rows[0] if rows else None

    async def postpone(self, feedback_id: int, pod_id: str, seconds: float) -> None:
        """Give a claimed row back, to be tried again in so many seconds."""
        await self._db.write(
            "feedback_postpone", Head, feedback_id=feedback_id, pod_id=pod_id, seconds=seconds
        )

    async def engines(self, seconds: float, limit: int) -> list[EngineStats]:
        """What feedback of the last ``seconds`` says, those with most calls first."""
        return await self._db.fetch("feedback_engines", EngineStats, seconds=seconds, page=limit)
