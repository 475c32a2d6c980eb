"""operator_reply_chunk: the text of replies while they are being written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from operator_svc.db import ConstraintViolation, Database, Nothing
from operator_svc.models import Record, ReplyChunk
from operator_svc.timestamps import utc_text


class StoredCount(Record, frozen=True):
    """The number of pieces of text that a write has stored."""

    stored: int


class StoredEnd(Record, frozen=True):
    """A reply, and up to which code point its text is stored."""

    reply_id: int
    stored_end: int


class ReplyChunkStore:
    """Appends and reads pieces of text; the last write of a reply deletes them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def append(
        self, pod_id: str, chunks: Sequence[ReplyChunk], begun_at: Mapping[int, datetime]
    ) -> dict[int, int]:
        """Store new text in one write; for each reply that began then and that ``pod_id`` still
        owns up to where its text is stored now.

        That is not where its chunk ends if an earlier attempt, whose answer was lost, has stored
        another piece at the same offset, or if somebody else is writing to the reply just now:
        the next attempt goes on from there.
        """
        reply_ids = [chunk.reply_id for chunk in chunks]
        begun = [utc_text(begun_at[reply_id]) for reply_id in reply_ids]
        stored = await self._insert(
            pod_id=pod_id,
            reply_ids=reply_ids,
            begun_at=begun,
            offsets=[chunk.offset for chunk in chunks],
            contents=[chunk.content for chunk in chunks],
        )
        if stored == len(chunks):
            return {chunk.reply_id: chunk.offset + len(chunk.content) for chunk in chunks}
        found = await self._db.fetch(
            "chunks_ends", StoredEnd, pod_id=pod_id, reply_ids=reply_ids, begun_at=begun
        )
        return {row.reply_id: row.stored_end for row in found}

    async def _insert(self, **params: Any) -> int:
        """The number of pieces that were stored; others are passed over."""
        while True:
            try:
                (count,) = await self._db.write("chunks_append", StoredCount, **params)
            except ConstraintViolation as violation:
                if violation.kind != "unique":
                    raise
                # An earlier attempt, which was still under way, has committed just now.
            else:
                return count.stored

    async def after(self, ends: Mapping[int, int]) -> list[ReplyChunk]:
        """The text of replies (ids), each from a number of code points on, in order."""
        return await self._db.fetch(
            "chunks_after", ReplyChunk, reply_ids=list(ends), offsets=list(ends.values())
        )

    async def purge(self) -> None:
        """Delete what a crash may have left of replies that have ended."""
        await self._db.write("chunks_purge", Nothing)
