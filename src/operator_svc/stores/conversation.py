"""operator_session and operator_message: sessions that are made and filled without a chat."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from operator_svc.db import Database
from operator_svc.models import Json, Record
from operator_svc.protocol import events
from operator_svc.stores.chat_keys import write_keyed
from operator_svc.stores.message_rows import Key
from operator_svc.stores.writes import RecordId, write_one


class NewMessage(msgspec.Struct, frozen=True):
    """A message without a reply."""

    role: str
    content: str
    metadata: dict[str, Json]


class Opened(Record, frozen=True):
    """A session that was made."""

    ts: datetime


class Added(Record, frozen=True):
    """A message that was added; ``last_seq`` is the number of the last one's event."""

    id: int
    last_seq: int
    ts: datetime


class ConversationStore:
    """Makes sessions, adds messages to them, and changes their metadata."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def open(
        self, session_id: str, *, epoch: str, user_id: str, source: str, metadata: Json
    ) -> Opened | None:
        """Make a session; None where there is one of this id already."""
        return await write_one(
            self._db,
            "session_open",
            Opened,
            session_id=session_id,
            epoch=epoch,
            user_id=user_id,
            source=source,
            created=events.session_created(session_id, user_id, source),
            metadata=metadata,
        )

    async def set_metadata(self, session_id: str, viewer: str | None, metadata: Json) -> bool:
        """Replace the metadata of a session; False where there is none that ``viewer`` may see."""
        found = await write_one(
            self._db,
            "session_set_metadata",
            RecordId,
            session_id=session_id,
            viewer=viewer,
            metadata=metadata,
        )
        return found is not None

    async def add(
        self, session_id: str, viewer: str | None, messages: list[NewMessage], key: Key | None
    ) -> list[Added]:
        """Store messages in their order; none where there is no such session.

        Raises KeyTakenError.
        """

        async def write(columns: dict[str, Any]) -> list[Added]:
            return await self._db.write(
                "messages_add",
                Added,
                session_id=session_id,
                viewer=viewer,
                messages=msgspec.to_builtins(messages),
                **columns,
            )

        return sorted(await write_keyed(self._db, key, write), key=lambda row: row.id)
