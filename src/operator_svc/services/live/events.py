"""Events on their way to clients."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET

from operator_svc.protocol import events as names
from operator_svc.protocol.frames import EventFrame, encode
from operator_svc.stores.events import EventRow


class LiveEvent:
    """An event of a session. Its frame is encoded once for all its readers, and only when there
    is one. ``seq`` is 0 where the event has no number: the log is gone, or no longer kept.
    """

    __slots__ = ("_encoded", "_session_id", "data", "name", "seq", "ts")

    def __init__(
        self, session_id: str, seq: int, name: str, ts: datetime, data: dict[str, Any]
    ) -> None:
        self.seq = seq
        self.name = name
        self.data = data
        self.ts = ts
        """Its time, by the database's clock."""
        self._session_id = session_id
        self._encoded: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The bytes that clients get."""
        encoded = self._encoded
        if encoded is None:
            frame = EventFrame(
                seq=self.seq or UNSET,
                event=self.name,
                session_id=self._session_id,
                ts=self.ts,
                data=self.data,
            )
            encoded = self._encoded = encode(frame)
        return encoded

    @classmethod
    def of_row(cls, row: EventRow, epoch: str | None) -> LiveEvent:
        """The event that a row of the log stands for; ``epoch`` is the session's, which only its
        first event tells."""
        return cls(row.session_id, row.seq, row.event, row.ts, event_data(row, epoch))

    def ends_reply(self, reply_id: int) -> bool:
        """True for the last event of the reply."""
        return self.name in names.REPLY_ENDINGS and self.data["reply_id"] == reply_id


def session_created(
    session_id: str, seq: int, ts: datetime, *, epoch: str, user_id: str, source: str
) -> LiveEvent:
    """The first event of a session that this process has made."""
    data = {**names.session_created(session_id, user_id, source), "epoch": epoch}
    return LiveEvent(session_id, seq, names.SESSION_CREATED, ts, data)


def event_data(row: EventRow, epoch: str | None) -> dict[str, Any]:
    """The data of a stored event, built from the message that it is about where there is one;
    ``epoch`` is the session's."""
    if row.event == names.MESSAGE_CREATED and row.message_id is not None and row.created_at:
        return names.message_created(
            row.message_id, row.role or "", row.content or "", row.metadata, row.created_at
        )
    if row.event == names.REPLY_STARTED and row.message_id is not None:
        return names.reply_started(row.message_id, row.reply_to)
    if row.event in names.REPLY_ENDINGS and row.message_id is not None:
        return names.reply_ended(
            row.message_id, row.reply_to, row.status or "", row.content or "", row.metadata
        )
    if row.event == names.SESSION_CREATED:
        return {**(row.data or {}), "epoch": epoch}
    return row.data or {}
