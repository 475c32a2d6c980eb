"""A live view of sessions without the rest of a service."""

from __future__ import annotations

from operator_svc.background import TaskOwner
from operator_svc.bus import Bus, LocalBus
from operator_svc.db import Database
from operator_svc.services.chat.running_replies import RunningReplies
from operator_svc.services.live.feed_reader import FeedReader
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.events import EventStore
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.sessions import SessionStore


def hub_over(database: Database, tasks: TaskOwner, bus: Bus | None = None) -> SessionHub:
    """A hub of a process that writes no replies; by default it is alone."""
    reader = FeedReader(
        SessionStore(database),
        MessageStore(database),
        EventStore(database),
        ReplyChunkStore(database),
    )
    return SessionHub(reader, RunningReplies(), bus or LocalBus(), tasks)
