"""operator_event: the durable events of each session, numbered without a gap."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from operator_svc.db import Database
from operator_svc.models import Json, Record
from operator_svc.stores.pages import PAGE_BYTES, Page, fetch_page


class EventRow(Record, frozen=True):
    """An event with the message that it is about, where there is one."""

    session_id: str
    seq: int
    event: str
    ts: datetime
    message_id: int | None
    data: Json
    role: str | None
    content: str | None
    status: str | None
    reply_to: int | None
    metadata: Json
    created_at: datetime | None


class StoredEvent(Record, frozen=True):
    """The event of a write. ``seq`` is its number, None for a record without a session; ``data``
    what was stored as its data, and ``ts`` the time of the write."""

    seq: int | None
    data: Json
    ts: datetime


class RecordEvent(StoredEvent, frozen=True):
    """The event of a record that has a number of its own, and that number."""

    id: int
    session_id: str | None


class PurgeStep(Record, frozen=True):
    """An event that was deleted for its age, or on PostgreSQL the partition of a ``day`` that was
    made or dropped; with ``held_up`` nothing was done, since others keep the tables."""

    day: str | None
    held_up: bool


class EventStore:
    """Reads the log. Events are written by the writes that make them true."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def after(
        self, session_id: str, after: int, limit: int, size: int = PAGE_BYTES
    ) -> Page[EventRow]:
        """Events of a session after a number, in order."""
        return await fetch_page(
            self._db,
            "events_after",
            EventRow,
            session_id=session_id,
            after=after,
            limit=limit,
            size=size,
        )

    async def of_message(self, session_id: str, message_id: int) -> list[EventRow]:
        """The events that are about one message and still kept, in order."""
        return await self._db.fetch(
            "events_of_message", EventRow, session_id=session_id, message_id=message_id
        )

    async def after_each(self, seen: Mapping[str, int], limit: int) -> Page[EventRow]:
        """Newer events of several sessions, in order within each; at most ``limit`` in all."""
        return await fetch_page(
            self._db,
            "events_after_each",
            EventRow,
            session_ids=list(seen),
            seqs=list(seen.values()),
            limit=limit,
        )

    async def purge(self, days: float, limit: int) -> list[PurgeStep]:
        """One step of deleting events older than ``days``; empty where nothing is left to do.

        PostgreSQL keeps events by days, and drops a day as a whole once all of it is too old. The
        days to come are made ahead. Events of a day that was not made in time have no partition,
        and go as on SQLite: about ``limit`` of them in a step.
        """
        return await self._db.write("events_purge", PurgeStep, days=days, page=limit)
