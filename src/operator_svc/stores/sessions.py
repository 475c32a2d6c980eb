"""operator_session: conversations and the number of each one's newest event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from operator_svc.db import Database, Reads
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_ID, Record, Session
from operator_svc.protocol.search_words import search_query
from operator_svc.stores.epochs import with_epoch
from operator_svc.stores.pages import Page, fetch_page
from operator_svc.stores.search import SessionSearch
from operator_svc.stores.writes import write_one

NEWEST = (datetime(9999, 12, 31, tzinfo=UTC), MAX_ID)
"""The place before which all sessions stand in the list."""
SMALL = 2000
"""Messages and events of a session that is deleted in one write: some 100 ms."""
PIECE = 500
"""Rows of each kind that one write deletes of a larger one: SQLite's other writes wait for it."""
RETRY_AFTER = 5.0
"""Seconds after which a client may try again to use the id of a session that is being deleted."""


class News(Record, frozen=True):
    """A watched session that changed. ``epoch`` and ``last_seq`` are None when it is gone."""

    session_id: str
    epoch: str | None
    last_seq: int | None


class Beginning(Record, frozen=True):
    """The first 240 characters of a session's first message of a user."""

    id: int
    beginning: str


class Deleted(Record, frozen=True):
    """A session that was deleted."""

    session_id: str
    epoch: str


class InDeletion(Record, frozen=True):
    """A deleted session that has rows left."""

    session_id: str


class SessionReads:
    """Reads sessions, of any database that has them."""

    def __init__(self, db: Reads) -> None:
        self._db = db
        self._search = SessionSearch(db)

    async def get(self, session_id: str, viewer: str | None = None) -> Session | None:
        """The session, or None where there is none that ``viewer`` may see (None sees all)."""
        found = await self._db.fetch_one(
            "session_get", Session, session_id=session_id, viewer=viewer
        )
        return found and with_epoch(self._db, found)

    async def page(
        self,
        *,
        user_id: str | None,
        words: str | None,
        before: tuple[datetime, int] = NEWEST,
        limit: int,
    ) -> Page[Session]:
        """Sessions, newest first; with ``words`` those with a message that has them all, where the
        last one may be the beginning of a longer word."""
        if words is not None:
            return await self._search.page(
                search_query(words), user_id=user_id, before=before, limit=limit
            )
        place: dict[str, Any] = {"before_at": before[0], "before_id": before[1]}
        name = "session_page"
        if user_id is not None:
            name, place["user_id"] = "session_page_of_user", user_id
        return await fetch_page(self._db, name, Session, limit=limit, **place)

    async def beginnings(self, ids: Sequence[int]) -> dict[int, str]:
        """The beginning of the first message of a user, by the ids of those sessions' rows that
        have one: another session of the same public id is not meant."""
        if not ids:
            return {}
        rows = await self._db.fetch("session_beginnings", Beginning, ids=list(ids))
        return {row.id: row.beginning for row in rows}


class SessionStore(SessionReads):
    """Reads and deletes sessions. They are made by the writes of what stands in them.

    A deleted session is gone for all reads and writes at once. The rows of a large one are deleted
    by ``delete_piece``, by whichever process comes to it.
    """

    _db: Database

    def __init__(self, db: Database) -> None:
        super().__init__(db)

    async def news(self, seen: Mapping[str, int]) -> list[News]:
        """The watched sessions whose newest event is not the one ``seen``."""
        rows = await self._db.fetch(
            "session_news", News, session_ids=list(seen), seqs=list(seen.values())
        )
        return [with_epoch(self._db, row) for row in rows]

    async def delete(self, session_id: str, viewer: str | None) -> Deleted | None:
        """Delete a session with all that belongs to it; None where there is none."""
        deleted = await write_one(
            self._db, "session_delete", Deleted, session_id=session_id, viewer=viewer, page=SMALL
        )
        return deleted and with_epoch(self._db, deleted)

    async def expire(self, days: float, limit: int) -> list[InDeletion]:
        """Delete up to ``limit`` sessions in which nothing happened for so many days; their rows
        go by ``delete_piece``."""
        return await self._db.write("sessions_expire", InDeletion, days=days, page=limit)

    async def delete_piece(self) -> bool:
        """Delete some rows of a deleted session; False where none has any left, or others are at
        them. Deleted sessions take turns."""
        return bool(await self._db.write("session_delete_piece", InDeletion, page=PIECE))


async def refuse_id_in_deletion(db: Database, session_id: str) -> None:
    """Raise OperatorError(conflict) where rows are left of a deleted session of this id: those of
    a new one would be among them."""
    if await db.fetch_one("session_being_deleted", InDeletion, session_id=session_id):
        raise OperatorError(
            ErrorCode.CONFLICT,
            "a large session of this id is still being deleted: try again later",
            retry_after=RETRY_AFTER,
        )
