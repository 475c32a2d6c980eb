"""The stores of conversations, and short ways to use them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from operator_svc.db import Database
from operator_svc.models import ReplyChunk, ReplyStatus
from operator_svc.stores.chat_keys import ChatKeyStore
from operator_svc.stores.events import EventStore
from operator_svc.stores.message_rows import Feedback, Key, Recent, Started
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.pods import PodStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.sessions import SessionStore

POD = "pod-1"


class Stores:
    """The stores of one database, and short ways to use them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.sessions = SessionStore(database)
        self.messages = MessageStore(database)
        self.events = EventStore(database)
        self.chunks = ReplyChunkStore(database)
        self.keys = ChatKeyStore(database)
        self.pods = PodStore(database)

    async def new(
        self,
        session_id: str,
        *,
        user: str = "ana",
        key: Key | None = None,
        content: str = "good morning",
    ) -> Started:
        started = await self.messages.start_new(
            session_id=session_id,
            epoch=str(uuid.uuid4()),
            user_id=user,
            source="api",
            content=content,
            metadata={"n": [1, None, {"ñ": "漢"}]},
            pod_id=POD,
            key=key,
        )
        assert started is not None
        return started

    async def more(
        self,
        session_id: str,
        *,
        viewer: str | None = None,
        key: Key | None = None,
        exchanges: int = 10,
        max_chars: int = 16_000,
        content: str = "and now",
        recent: Recent | None = None,
    ) -> Started | None:
        return await self.messages.start(
            session_id=session_id,
            viewer=viewer,
            content=content,
            metadata={},
            pod_id=POD,
            key=key,
            exchanges=exchanges,
            max_chars=max_chars,
            recent=recent,
        )

    async def finish(
        self,
        session_id: str,
        reply_id: int,
        *,
        pod: str = POD,
        feedback: Feedback | None = None,
        status: ReplyStatus = ReplyStatus.COMPLETE,
        content: str = "it is done",
        begun_at: datetime | None = None,
    ) -> int | None:
        ended = await self.messages.finish(
            session_id=session_id,
            reply_id=reply_id,
            begun_at=begun_at or await self._begun_at(reply_id),
            pod_id=pod,
            status=status,
            content=content,
            metadata={"status": "ok"},
            feedback=feedback,
        )
        return ended.last_seq if ended else None

    async def append(self, pod: str, chunks: list[ReplyChunk]) -> dict[int, int]:
        begun_at = {chunk.reply_id: await self._begun_at(chunk.reply_id) for chunk in chunks}
        return await self.chunks.append(pod, chunks, begun_at)

    async def _begun_at(self, reply_id: int) -> datetime:
        reply = await self.messages.get(reply_id)
        return reply.created_at if reply else datetime.now(UTC)

    async def log(self, session_id: str) -> list[tuple[int, str]]:
        return [(e.seq, e.event) for e in (await self.events.after(session_id, 0, 1000)).rows]

    async def grow_old(self) -> None:
        """Make all events older than their retention."""
        async with self.database.transaction() as tx:
            await tx.execute("UPDATE operator_event SET ts = '2020-01-01T00:00:00.000000Z'")
