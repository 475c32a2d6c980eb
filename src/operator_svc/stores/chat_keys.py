"""operator_chat_key: idempotency keys of chats."""

from __future__ import annotations

from operator_svc.db import Database
from operator_svc.models import ChatKey, Record


class ReleasedKey(Record, frozen=True):
    """A key that stands for nothing any more, and the session that it was of."""

    session_id: str


class ChatKeyStore:
    """Reads keys; they are written with the chat that they stand for."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, scope: str, key: str) -> ChatKey | None:
        """The chat that ``key`` stands for within ``scope``, or None."""
        return await self._db.fetch_one("chat_key_get", ChatKey, scope=scope, key=key)


async def release_key(db: Database, scope: str, key: str) -> bool:
    """Delete a key whose session is being deleted; False where it is another one's."""
    return bool(await db.write("chat_key_release", ReleasedKey, scope=scope, key=key))
