"""operator_session and operator_message: sessions that are made and filled without a chat."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from operator_svc.db import Database
from operator_svc.models import Json, Record
from operator_svc.protocol import events
from operator_svc.stores.chat_keys import write_keyed
from operator_svc.stores.message_rows import Key
from operator_svc.stores.session_keys import SESSION_KEYS
from operator_svc.stores.writes import RecordId, write_one


class NewMessage(msgspec.Struct, frozen=True):
    """A message without a reply."""

    role: str
    content: str
    metadata: dict[str, Json]


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is to be made."""

    session_id: str
    epoch: str
    user_id: str
    source: str
    metadata: Json


class Opened(NamedTuple):
    """The time at which a session was made, and the ids of its messages in their order."""

    ts: datetime
    ids: list[int]


class _OpenedRow(Record, frozen=True):
    id: int | None
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
        self, session: NewSession, messages: list[NewMessage], key: Key | None
    ) -> Opened:
        """Make a session with messages. Raises KeyTakenError."""

        async def write(columns: dict[str, Any]) -> list[_OpenedRow]:
            names = ("scope", "key", "body_hash")
            return await self._db.write(
                "session_open",
                _OpenedRow,
                **msgspec.structs.asdict(session),
                created=events.session_created(session.session_id, session.user_id, session.source),
                messages=msgspec.to_builtins(messages),
                renews=columns["renewed_after"] is not None,
                **{name: columns[name] for name in names},
            )

        rows = await write_keyed(self._db, key, write, SESSION_KEYS)
        return Opened(rows[0].ts, sorted(row.id for row in rows if row.id is not None))

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
