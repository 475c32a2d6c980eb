"""operator_chat_key: idempotency keys of chats."""

from __future__ import annotations

from operator_svc.db import Database
from operator_svc.models import ChatKey, Record


class ReleasedKey(Record, frozen=True):
    """A key whose reply is gone, and its former session."""

    session_id: str


class ChatKeyStore:
    """Reads keys, which are written with their chat."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, scope: str, key: str) -> ChatKey | None:
        """The chat of ``key`` within ``scope``, or None."""
        return await self._db.fetch_one("chat_key_get", ChatKey, scope=scope, key=key)


async def release_key(db: Database, scope: str, key: str) -> bool:
    """Delete a key whose session is being deleted; False where it is another one's."""
    return bool(await db.write("chat_key_release", ReleasedKey, scope=scope, key=key))
