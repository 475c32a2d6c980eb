"""operator_session_key: idempotency keys of sessions that are made without a chat."""

from __future__ import annotations

from operator_svc.db import Database
from operator_svc.models import Record, SessionKey
from operator_svc.protocol.intents import SOON, WITHIN
from operator_svc.stores.chat_keys import KeyTable
from operator_svc.stores.writes import write_one

SESSION_KEYS = KeyTable("operator_session_key", "session_key_release")


class KeyedSession(Record, frozen=True):
    """A session that a key stood for."""

    session_id: str


class SessionKeyStore:
    """Reads keys, which are written with their sessions, and gives up those of intents."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, scope: str, key: str) -> SessionKey | None:
        """Read what ``key`` stands for within ``scope``; None if nothing."""
        return await self._db.fetch_one("session_key_get", SessionKey, scope=scope, key=key)

    async def claim(self, scope: str, key: str) -> str | None:
        """Give up an intent's key for a repeated attempt: its session, whose caller had no answer.
        None where there is none, or where its caller may be answered in this moment."""
        claimed = await write_one(
            self._db,
            "session_key_claim",
            KeyedSession,
            scope=scope,
            key=key,
            soon=SOON,
            within=WITHIN,
        )
        return None if claimed is None else claimed.session_id

    async def answered(self, scope: str, key: str, session_id: str) -> None:
        """Give up the key of a session: its caller has the answer."""
        await self._db.write(
            "session_key_answered", KeyedSession, scope=scope, key=key, session_id=session_id
        )
