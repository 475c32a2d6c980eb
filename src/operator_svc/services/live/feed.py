"""One watched session: what its clients are shown, strictly in the order of its events.

A ``Feed`` knows the number of the newest event that it has shown (``last_seq``) and shows the next
ones, whether they come from a write of this process or are read from the database after another
pod's news. Whatever does not follow on ``last_seq`` waits until the gap has been read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import UNSET

from operator_svc.protocol import events as names
from operator_svc.protocol.frames import Delta, EventFrame, Snapshot, encode
from operator_svc.services.live.send_queue import SendQueue
from operator_svc.stores.events import EventRow

Kind = Literal["text", "reasoning"]


class LiveEvent:
    """An event on its way to clients. Its frame is encoded once for all of them, and only when
    somebody is there to be shown it."""

    __slots__ = ("_encoded", "_frame", "data", "event", "seq")

    def __init__(self, seq: int, frame: EventFrame) -> None:
        self.seq = seq
        self.event = frame.event
        self.data: dict[str, Any] = frame.data
        self._frame = frame
        self._encoded: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The bytes that clients get."""
        encoded = self._encoded
        if encoded is None:
            encoded = self._encoded = encode(self._frame)
        return encoded

    @classmethod
    def make(
        cls, session_id: str, seq: int, event: str, ts: datetime, data: dict[str, Any]
    ) -> LiveEvent:
        """An event by its parts."""
        return cls(seq, EventFrame(seq=seq, event=event, session_id=session_id, ts=ts, data=data))

    @classmethod
    def of_row(cls, row: EventRow) -> LiveEvent:
        return cls.make(row.session_id, row.seq, row.event, row.ts, data_of(row))


def data_of(row: EventRow) -> dict[str, Any]:
    """The data of a stored event, put together from the message that it is about."""
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
    return row.data or {}


class ReplyStream:
    """A reply while it is being written: its text so far, and who is shown it."""

    def __init__(self, session_id: str, reply_id: int, *, local: bool) -> None:
        self.session_id = session_id
        self.reply_id = reply_id
        self.local = local
        self.feed: Feed | None = None
        self.watchers: set[SendQueue] = set()
        self.ends: dict[Kind, int] = {"text": 0, "reasoning": 0}
        self.parts: dict[Kind, list[str]] = {"text": [], "reasoning": []}

    def append(self, kind: Kind, content: str) -> None:
        """Show a piece to everybody, at once."""
        offset = self.ends[kind]
        self.ends[kind] = end = offset + len(content)
        self.parts[kind].append(content)
        readers = [*self.watchers] if self.watchers else []
        if self.feed is not None:
            readers += self.feed.subscribers
        if not readers:
            return
        delta = Delta(reply_id=self.reply_id, offset=offset, end=end, content=content, kind=kind)
        data = encode(delta)
        for send_queue in readers:
            send_queue.delta(delta, data)

    def text(self, kind: Kind = "text") -> str:
        """The text so far."""
        parts = self.parts[kind]
        if len(parts) > 1:
            parts[:] = ["".join(parts)]
        return parts[0] if parts else ""

    def text_from(self, offset: int, kind: Kind = "text") -> str:
        """The text from a number of code points on; cheap where that is near the end."""
        parts = self.parts[kind]
        tail: list[str] = []
        start = self.ends[kind]
        for part in reversed(parts):
            if start <= offset:
                break
            start -= len(part)
            tail.append(part)
        return "".join(reversed(tail))[offset - start :]

    def snapshots(self) -> list[bytes]:
        """Frames that bring a late comer up to now."""
        return [
            encode(
                Snapshot(
                    reply_id=self.reply_id, kind=kind, text=self.text(kind), end=self.ends[kind]
                )
            )
            for kind in self.parts
            if self.ends[kind] or kind == "text"
        ]


class Feed:
    """One watched session on this process."""

    def __init__(self, session_id: str, local_reply: Callable[[int], ReplyStream | None]) -> None:
        self.session_id = session_id
        self.subscribers: set[SendQueue] = set()
        self.last_seq = -1
        self.epoch: str | None = None
        self.user_id: str | None = None
        self.refs = 0
        self.listeners: set[Callable[[LiveEvent | None], None]] = set()
        self.replies: dict[int, ReplyStream] = {}
        self.deleted = False
        self.lost = False
        self.stale = False
        self.loading: asyncio.Task[None] | None = None
        self._local_reply = local_reply
        self._waiting: dict[int, LiveEvent] = {}

    @property
    def loaded(self) -> bool:
        """Whether it is known where the session stands."""
        return self.last_seq >= 0

    @property
    def over(self) -> bool:
        """Whether nothing more will be shown here: clients leave, or come back for another."""
        return self.deleted or self.lost

    @property
    def gap(self) -> bool:
        """Whether events wait for others before them."""
        return bool(self._waiting)

    def offer(self, events: Iterable[LiveEvent]) -> bool:
        """Show those events that follow on what was shown; False where a gap is left."""
        if self.over:
            return True
        for event in events:
            if event.seq > self.last_seq:
                self._waiting[event.seq] = event
        if not self.loaded:
            return True
        while (following := self._waiting.pop(self.last_seq + 1, None)) is not None:
            self._show(following)
        return not self._waiting

    def start_from(self, seq: int, epoch: str | None, user_id: str | None) -> None:
        """What clients see of this session begins after event ``seq``."""
        self.epoch, self.user_id = epoch, user_id
        self.last_seq = seq
        self._waiting = {n: event for n, event in self._waiting.items() if n > seq}
        self.offer(())

    def _show(self, event: LiveEvent) -> None:
        self.last_seq = event.seq
        if event.event == names.SESSION_CREATED:
            self.user_id = event.data.get("user_id")
        # First those who may find that somebody must not be shown it.
        for listener in list(self.listeners):
            listener(event)
        for send_queue in list(self.subscribers):
            send_queue.frame(event.frame, event.seq)
        if event.event == names.REPLY_STARTED:
            self.watch(event.data["reply_id"])
        elif event.event in names.REPLY_ENDINGS:
            reply = self.replies.pop(event.data["reply_id"], None)
            if reply is not None:
                reply.feed = None

    def watch(self, reply_id: int) -> ReplyStream:
        """Show a reply's text as it comes, and first what there is of it."""
        reply = self.replies.get(reply_id)
        if reply is None:
            reply = self._local_reply(reply_id) or ReplyStream(
                self.session_id, reply_id, local=False
            )
            self.replies[reply_id] = reply
            reply.feed = self
            if reply.ends["text"] or reply.ends["reasoning"]:
                for frame in reply.snapshots():
                    for send_queue in list(self.subscribers):
                        send_queue.frame(frame)
        return reply

    def end(self) -> None:
        """The session was deleted: tell everybody, once."""
        if self.deleted:
            return
        self.deleted = True
        for send_queue in list(self.subscribers):
            self.part(send_queue)
        self._leave()

    def cut(self) -> None:
        """Events are missing that can't be had any more: all come back and resume."""
        self.lost = True
        for send_queue in list(self.subscribers):
            self.part(send_queue)
        self._leave()

    def part(self, send_queue: SendQueue) -> None:
        """Send away a client of a session that is over."""
        if not self.deleted:
            send_queue.overflow()
            return
        notice = EventFrame(
            seq=UNSET,
            event=names.SESSION_DELETED,
            session_id=self.session_id,
            ts=datetime.now(UTC),
            data={"session_id": self.session_id},
        )
        send_queue.frame(encode(notice))
        send_queue.gone()

    def _leave(self) -> None:
        self.subscribers.clear()
        for listener in list(self.listeners):
            listener(None)

    def forget(self) -> None:
        """Nobody watches any more."""
        for reply in self.replies.values():
            reply.feed = None
