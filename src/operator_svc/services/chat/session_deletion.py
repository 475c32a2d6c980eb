"""Deletes sessions: those that clients delete, and those that nobody has used for long."""

from __future__ import annotations

import asyncio
import time

import structlog

from operator_svc.services.chat.reply_writer import ReplyWriter
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.sessions import SessionStore

DELETION_INTERVAL = 1.0
"""Seconds between looks for deleted sessions that have rows left."""
EXPIRED_AT_ONCE = 100
"""Unused sessions that are marked before their rows are deleted: what is marked is passed over by
each look for more."""

log = structlog.get_logger(__name__)


class SessionDeletion:
    """Deletes sessions for everybody at once, and the rows of large ones in pieces.

    Any number of pods may do so at once: each piece is one write, which another pod passes over
    while it lasts, and a pod that dies leaves the rest to the others.
    """

    def __init__(self, store: SessionStore, writer: ReplyWriter, hub: SessionHub) -> None:
        self._store = store
        self._writer = writer
        self._hub = hub

    async def delete(self, session_id: str, viewer: str | None) -> bool:
        """Delete a session that ``viewer`` may see; its running replies stop, and its clients are
        sent away. False where there is none."""
        if await self._store.delete(session_id, viewer) is None:
            return False
        self._dismiss(session_id)
        return True

    async def expire(self, days: float) -> None:
        """Delete all sessions in which nothing happened for so many days."""
        while True:
            expired = await self._store.expire(days, EXPIRED_AT_ONCE)
            for session in expired:
                self._dismiss(session.session_id)
            if expired:
                log.info("unused sessions deleted", sessions=len(expired))
            await self.run()
            if len(expired) < EXPIRED_AT_ONCE:
                return

    async def run(self) -> None:
        """Delete the rows of deleted sessions until none has any left, half of the time: the
        database has other work. To be called every ``DELETION_INTERVAL`` seconds."""
        begun = time.monotonic()
        while await self._store.delete_piece():
            await asyncio.sleep(time.monotonic() - begun)
            begun = time.monotonic()

    def _dismiss(self, session_id: str) -> None:
        self._writer.abandon_session(session_id)
        self._hub.session_deleted(session_id)
