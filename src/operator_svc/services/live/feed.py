"""One watched session: what its clients are shown, strictly in the order of its events.

A ``Feed`` knows the number of the newest event that it has shown (``last_seq``) and shows the
next ones, whether they come from a write of this process or are read from the database after
another pod's notification. An event that does not follow on ``last_seq`` waits until the gap has
been read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias

from operator_svc.bus import ReplyPiece
from operator_svc.models import MAX_REPLY_CHARS
from operator_svc.protocol import events as names
from operator_svc.services.live.dismissals import Dismissals
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.reply_stream import LocalReplies, ReplyStream, chars_of
from operator_svc.services.live.send_queue import JOINED_BYTES, SendQueue

EARLY_PIECES = 256
"""Pieces kept of replies whose first event has not come yet, and no more text than a reply may
have."""

Listener: TypeAlias = Callable[[LiveEvent | None], None]
"""Called with each event before clients are shown it, and with None when the feed is over."""


class Feed:
    """The events and running replies of one session, for its clients on this process."""

    __slots__ = (
        "_dismissals",
        "_early",
        "_local",
        "_refs",
        "_waiting",
        "deleted",
        "epoch",
        "invalid",
        "last_seq",
        "listeners",
        "replies",
        "session_id",
        "subscribers",
        "user_id",
    )

    def __init__(self, session_id: str, local: LocalReplies, dismissals: Dismissals) -> None:
        self.session_id = session_id
        self.subscribers: set[SendQueue] = set()
        self.listeners: set[Listener] = set()
        self.replies: dict[int, ReplyStream] = {}
        self._refs = 0
        self.last_seq = -1
        self.epoch: str | None = None
        self.user_id: str | None = None
        self.deleted = False
        self.invalid = False
        self._local = local
        self._dismissals = dismissals
        self._waiting: dict[int, LiveEvent] = {}
        self._early: deque[ReplyPiece] | None = None

    @property
    def loaded(self) -> bool:
        """True once the session's last event is known."""
        return self.last_seq >= 0

    @property
    def over(self) -> bool:
        """True once nothing more is shown here: clients leave, or come back for another feed."""
        return self.deleted or self.invalid

    @property
    def has_gap(self) -> bool:
        """True while events wait for others before them."""
        return bool(self._waiting)

    @property
    def has_local_reply(self) -> bool:
        """True while this process writes a reply of the session."""
        return any(reply.local for reply in self.replies.values())

    def retain(self) -> None:
        """Count one more user of the feed."""
        self._refs += 1

    def release(self) -> bool:
        """Count one user less; True for the last one, who leaves the feed without readers."""
        self._refs -= 1
        if self._refs:
            return False
        for reply in self.replies.values():
            reply.detach()
        return True

    def accepts(self, epoch: str | None) -> bool:
        """Take ``epoch`` for the session's where none is known yet.

        False where the session of this feed is gone, whether another took its id or not.
        """
        if self.epoch is None:
            self.epoch = epoch
        return epoch == self.epoch

    def start_from(self, seq: int, user_id: str | None) -> None:
        """Show the events after ``seq``."""
        self.user_id = user_id
        self.last_seq = seq
        self._waiting = {n: event for n, event in self._waiting.items() if n > seq}
        self.add(())

    def add(self, events: Iterable[LiveEvent]) -> bool:
        """Show those events that follow on what was shown; False where a gap is left."""
        if self.over:
            return True
        for event in events:
            if event.seq > self.last_seq:
                self._waiting[event.seq] = event
        if not self.loaded:
            return True
        while following := self._following():
            self._show(following)
        return not self._waiting

    def _following(self) -> list[LiveEvent]:
        """The next events that clients are sent in one write. A reply's text comes right after its
        start."""
        events: list[LiveEvent] = []
        size = 0
        while size < JOINED_BYTES:
            event = self._waiting.pop(self.last_seq + 1, None)
            if event is None:
                break
            self.last_seq = event.seq
            events.append(event)
            size += len(event.frame) if self.subscribers else 0
            if event.name == names.REPLY_STARTED:
                break
        return events

    def _show(self, events: Sequence[LiveEvent]) -> None:
        for event in events:
            if event.name == names.SESSION_CREATED:
                self.user_id = event.data.get("user_id")
            # First those who may find that a client must not be shown it.
            for listener in list(self.listeners):
                listener(event)
        for send_queue in list(self.subscribers):
            send_queue.events(events)
        for event in events:
            if event.name == names.REPLY_STARTED:
                self.show_reply(event.data["reply_id"], event.ts)
            elif event.name in names.REPLY_ENDINGS:
                self._hide_reply(event.data["reply_id"])
            elif event.name == names.MESSAGE_DELETED:
                self._hide_reply(event.data["message_id"])

    def _hide_reply(self, reply_id: int) -> None:
        reply = self.replies.pop(reply_id, None)
        if reply is not None:
            reply.detach()

    def show_reply(self, reply_id: int, begun_at: datetime) -> None:
        """Show the text of a reply so far, and then live."""
        if reply_id in self.replies:
            return
        reply = self._local.stream_of(reply_id, begun_at)
        if reply is None:
            reply = ReplyStream(self.session_id, reply_id, begun_at, local=False)
        self.replies[reply_id] = reply
        reply.attach(self.subscribers)
        reply.send_from_start(self.subscribers)
        early = [piece for piece in self._early or () if piece.reply_id == reply_id]
        self._early = None
        for piece in early:
            self.take(piece)

    def take(self, piece: ReplyPiece) -> bool:
        """Show a piece of a reply that another pod writes. False where text before it is missing,
        and is worth being looked for: when that is noticed, and whenever more is stored."""
        reply = self.replies.get(piece.reply_id)
        if reply is None:
            if self._early is None:
                self._early = deque(maxlen=EARLY_PIECES)
            self._early.append(piece)
            while chars_of(early.content for early in self._early) > MAX_REPLY_CHARS:
                self._early.popleft()
            return True
        if reply.local or reply.begun_at != piece.begun_at:
            return True
        had_gap = reply.has_gap
        reply.take(piece.offset, piece.content)
        if reply.has_gap:
            return had_gap and bool(piece.content)
        if not piece.content:
            reply.mark_stored(max(piece.offset, reply.stored_end))
        return True

    def adopt(self, reply: ReplyStream) -> None:
        """Show a reply that this process begins to write, where a client came between its commit
        and here and saw a reply that nobody wrote yet."""
        shown = self.replies.get(reply.reply_id)
        if shown is not None and shown.begun_at == reply.begun_at:
            self.replies[reply.reply_id] = reply
            reply.attach(self.subscribers)

    def delete(self) -> None:
        """The session was deleted: tell all clients, once."""
        if not self.deleted:
            self.deleted = True
            self._dismiss_all()

    def invalidate(self) -> None:
        """Events are missing that are not kept any more: all clients come back and resume."""
        self.invalid = True
        self._dismiss_all()

    def _dismiss_all(self) -> None:
        self._dismissals.add([partial(self.dismiss, client) for client in self.subscribers])
        self.subscribers.clear()
        for listener in list(self.listeners):
            listener(None)

    def dismiss(self, send_queue: SendQueue) -> None:
        """Send a client away from a feed that is over."""
        if not self.deleted:
            send_queue.state_changed()
            return
        data = {"session_id": self.session_id}
        send_queue.event(
            LiveEvent(self.session_id, 0, names.SESSION_DELETED, datetime.now(UTC), data)
        )
        send_queue.session_deleted()
