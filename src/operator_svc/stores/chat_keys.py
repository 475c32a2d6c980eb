"""operator_chat_key: idempotency keys of chats."""

from __future__ import annotations

from operator_svc.db import Database
from operator_svc.models import ChatKey


class ChatKeyStore:
    """Reads keys; they are written with the chat that they stand for."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, scope: str, key: str) -> ChatKey | None:
        """The chat that ``key`` stands for within ``scope``, or None."""
        return await self._db.fetch_one("chat_key_get", ChatKey, scope=scope, key=key)
