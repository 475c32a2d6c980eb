"""The events that the start of a chat has stored before its reply's, as replaying shows them."""

from __future__ import annotations

from operator_svc.protocol import events as names
from operator_svc.protocol.chat import Chat
from operator_svc.services.chat.message_metadata import message_metadata
from operator_svc.services.live.events import LiveEvent, session_created
from operator_svc.stores.message_rows import Started


def message_events(session_id: str, chat: Chat, started: Started) -> list[LiveEvent]:
    """The event of the user's message."""
    data = names.message_created(
        started.message_id, "user", chat.message, message_metadata(chat), started.ts
    )
    seq = started.last_seq - 1
    return [LiveEvent(session_id, seq, names.MESSAGE_CREATED, started.ts, data)]


def session_events(session_id: str, chat: Chat, started: Started, user_id: str) -> list[LiveEvent]:
    """The events of a chat that has opened its session."""
    opened = session_created(
        session_id,
        started.last_seq - 2,
        started.ts,
        epoch=started.epoch,
        user_id=user_id,
        source=chat.source,
    )
    return [opened, *message_events(session_id, chat, started)]
