"""Writes of all kinds on the same few sessions at once: none waits for another in a circle.

PostgreSQL only: SQLite has one writer. What the database undoes all the same is tried again
(tests/db/test_conflicts.py); here nothing is, so that a circle shows.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from operator_svc.db import ConstraintViolation, Database
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import ReplyChunk, ReplyStatus
from operator_svc.stores.message_rows import Feedback, Streaming
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.sessions import SessionStore
from operator_svc.stores.switch_adjustments import AdjustmentStore
from operator_svc.stores.switch_feedback import FeedbackStore
from operator_svc.stores.tool_calls import ToolCallState, ToolCallStore

POD = "pod-1"
SESSIONS = ("a", "b")
WORKERS = 12
STEPS = 200
"""Steps of each worker."""
DONE = Feedback("engine", True, 1, 1, None)
ORPHANS = {
    "messages": "SELECT session_id FROM operator_message"
    " EXCEPT SELECT session_id FROM operator_session",
    "events": "SELECT session_id FROM operator_event"
    " EXCEPT SELECT session_id FROM operator_session",
    "feedback": "SELECT session_id FROM operator_switch_feedback WHERE session_id IS NOT NULL"
    " EXCEPT SELECT session_id FROM operator_session",
}
"""Rows of sessions that were deleted, which no reference keeps out."""


class Traffic:
    """Does to sessions what a pod does, one random thing at a time."""

    def __init__(self, database: Database, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._sessions = SessionStore(database)
        self._messages = MessageStore(database)
        self._chunks = ReplyChunkStore(database)
        self._feedback = FeedbackStore(database)
        self._adjustments = AdjustmentStore(database)
        self._tool_calls = ToolCallStore(database)
        self._ends: dict[int, int] = {}
        self._begun_at: dict[int, datetime] = {}
        self._running: dict[int, str] = {}

    async def step(self) -> None:
        """Do one of them."""
        acts: list[Callable[[str], Awaitable[None]]] = [
            *[self._chat] * 4, *[self._write] * 3, *[self._finish] * 3, *[self._forward] * 3,
            self._interrupt, self._free, self._adjust, self._call, self._delete,
        ]  # fmt: skip
        try:
            await self._random.choice(acts)(self._random.choice(SESSIONS))
        except ConstraintViolation as violation:
            if violation.kind not in ("foreign_key", "unique"):  # not just deleted meanwhile
                raise
        except OperatorError as error:
            if error.code is not ErrorCode.CONFLICT:  # not being deleted
                raise

    async def _chat(self, session: str) -> None:
        started = await self._messages.start(
            session_id=session, viewer=None, content="x", metadata={}, pod_id=POD, key=None,
            exchanges=2, max_chars=10,
        )  # fmt: skip
        if started is None:
            started = await self._messages.start_new(
                session_id=session, epoch=str(uuid.uuid4()), user_id="ana", source="api",
                content="x", metadata={}, pod_id=POD, key=None,
            )  # fmt: skip
        if started is not None:
            self._running[started.reply_id] = session
            self._begun_at[started.reply_id] = started.ts
            self._ends[started.reply_id] = 0

    async def _write(self, _session: str) -> None:
        replies = list(self._running)
        self._random.shuffle(replies)
        chunks = [ReplyChunk(r, self._ends[r], "word ") for r in replies]
        await self._chunks.append(POD, chunks, self._begun_at)
        for reply in replies:
            self._ends[reply] = self._ends.get(reply, 0) + 5

    async def _finish(self, _session: str) -> None:
        if self._running:
            reply, session = self._running.popitem()
            await self._messages.finish(
                session_id=session, reply_id=reply, begun_at=self._begun_at[reply], pod_id=POD,
                status=ReplyStatus.COMPLETE, content="x", metadata={}, feedback=DONE,
            )  # fmt: skip

    async def _interrupt(self, _session: str) -> None:
        if self._running:
            reply, session = self._running.popitem()
            await self._messages.interrupt(
                Streaming(reply, session, POD, self._begun_at[reply]), {}
            )

    async def _forward(self, _session: str) -> None:
        for head in await self._feedback.heads(POD):
            claimed = await self._feedback.claim(head, POD)
            while claimed is not None:
                claimed = await self._feedback.settle(claimed.id, POD, given_up=False, go_on=True)

    async def _free(self, _session: str) -> None:
        await self._feedback.release_orphaned()
        await self._adjustments.release_orphaned(None)
        await self._chunks.purge()
        await self._sessions.delete_piece()

    async def _adjust(self, session: str) -> None:
        made = await self._adjustments.record(
            session_id=session, viewer=None, message_id=None, before_config={},
            after_config={}, reason="x",
        )  # fmt: skip
        if made is None:
            return
        claimed = await self._adjustments.claim(made.row.id, POD, applied=False)
        if claimed is not None:
            await self._adjustments.finish(claimed, POD, "switch_adjustment.applied", None)

    async def _call(self, _session: str) -> None:
        if self._running:
            await self._tool_calls.record(
                message_id=self._random.choice(list(self._running)),
                viewer=None,
                tool_name="t",
                state=ToolCallState(status="ok", duration_ms=1),
            )

    async def _delete(self, session: str) -> None:
        await self._sessions.delete(session, None)


@pytest.mark.parametrize(("seed", "small"), [(1, 2000), (2, 0)])
async def test_no_two_writes_wait_for_each_other(
    postgresql_database: Database, monkeypatch: pytest.MonkeyPatch, seed: int, small: int
) -> None:
    monkeypatch.setattr("operator_svc.db.postgresql_connections.ATTEMPTS", 1)
    monkeypatch.setattr("operator_svc.stores.sessions.SMALL", small)
    traffic = Traffic(postgresql_database, seed)

    async def worker() -> None:
        for _ in range(STEPS):
            await traffic.step()

    await asyncio.gather(*[worker() for _ in range(WORKERS)])
    async with postgresql_database.transaction() as tx:
        for kind, orphans in ORPHANS.items():
            assert await tx.fetch(orphans) == [], kind
