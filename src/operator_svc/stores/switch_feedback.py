"""operator_switch_feedback: feedback on engines, and its way to Switch."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from operator_svc.db import Database
from operator_svc.models import Record
from operator_svc.protocol.event_data import data_of_record
from operator_svc.protocol.switch import FeedbackFact
from operator_svc.stores.events import RecordEvent
from operator_svc.stores.writes import RecordId, insert_one, write_one


class WrittenFeedback(NamedTuple):
    """Feedback as it was stored, and the event that says so."""

    row: FeedbackFact
    event: RecordEvent


class ClaimedFeedback(Record, frozen=True):
    """Feedback that this process forwards now. ``attempts`` are those that failed before."""

    id: int
    engine: str
    success: bool
    latency_ms: int | None
    tokens_used: int
    attempts: int


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
        latency_ms: int | None,
        tokens_used: int,
        error_message: str | None,
    ) -> WrittenFeedback | None:
        """Store what a client says; None where there is no such session that ``viewer`` may see, or
        the message was just deleted.

        What was said of the same message before is replaced, and keeps its id and its time. Switch
        is told the new one if it has not been told yet.
        """
        plain: dict[str, Any] = {
            "session_id": session_id,
            "message_id": message_id,
            "engine": engine,
            "success": success,
            "latency_ms": latency_ms,
            "tokens_used": tokens_used,
            "error_message": error_message,
        }
        event = await insert_one(
            self._db,
            "feedback_record",
            RecordEvent,
            viewer=viewer,
            data=data_of_record(FeedbackFact, plain),
            **plain,
        )
        if event is None:
            return None
        return WrittenFeedback(msgspec.convert(event.data, FeedbackFact), event)

    async def heads(self, pod_id: str) -> list[int]:
        """Ids of what ``pod_id`` may claim now: one for each engine at most, oldest first.

        Among them is what it claimed before and neither settled nor gave back.
        """
        return [row.id for row in await self._db.fetch("feedback_heads", RecordId, pod_id=pod_id)]

    async def claim(self, feedback_id: int, pod_id: str) -> ClaimedFeedback | None:
        """Claim a head; None where another process was faster."""
        return await write_one(
            self._db, "feedback_claim", ClaimedFeedback, feedback_id=feedback_id, pod_id=pod_id
        )

    async def release_orphaned(self) -> int:
        """Give up the claims of processes whose lease is over; returns their number."""
        return len(await self._db.write("feedback_release_orphaned", RecordId))

    async def settle(
        self, feedback_id: int, pod_id: str, *, given_up: bool, go_on: bool
    ) -> ClaimedFeedback | None:
        """Mark a claimed row as forwarded or given up; with ``go_on`` the next one of its engine
        is claimed in the same write and returned."""
        return await write_one(
            self._db,
            "feedback_settle",
            ClaimedFeedback,
            feedback_id=feedback_id,
            pod_id=pod_id,
            given_up=given_up,
            go_on=go_on,
        )

    async def postpone(self, feedback_id: int, pod_id: str, seconds: float) -> None:
        """Give a claimed row back, to be tried again in so many seconds."""
        await self._db.write(
            "feedback_postpone", RecordId, feedback_id=feedback_id, pod_id=pod_id, seconds=seconds
        )
