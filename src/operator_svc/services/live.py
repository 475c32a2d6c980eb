"""The live view of sessions: who is shown what, and what they have been shown already.

A ``Feed`` is one session that somebody on this process watches. It knows the number of the
newest event that it has shown (``seen``) and shows the next ones strictly in order, whether
they come from a write of this process or are read from the database after another pod's news.
Whatever does not follow on ``seen`` waits until the gap has been read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import structlog
from msgspec import UNSET

from operator_svc import telemetry
from operator_svc.background import TaskOwner
from operator_svc.errors import OperatorError
from operator_svc.models import Record
from operator_svc.protocol import events as names
from operator_svc.protocol.frames import Delta, EventFrame, Snapshot, encode
from operator_svc.services.outbox import Outbox
from operator_svc.stores.events import EventRow, EventStore
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.sessions import SessionStore

log = structlog.get_logger(__name__)

Kind = Literal["text", "reasoning"]

EVENTS_A_READ = 1000
"""Events read at once for all sessions that have news."""
SESSIONS_A_POLL = 5000
"""Watched sessions that one poll asks for; more are asked for in pieces."""
RETRY_AFTER = 1.0
"""Seconds after which news that could not be read are asked for again."""


class LiveEvent(Record, frozen=True):
    """An event on its way to clients: the frame is encoded once for all of them."""

    seq: int
    event: str
    data: dict[str, Any]
    frame: bytes

    @classmethod
    def make(
        cls, session_id: str, seq: int, event: str, ts: datetime, data: dict[str, Any]
    ) -> LiveEvent:
        frame = EventFrame(seq=seq, event=event, session_id=session_id, ts=ts, data=data)
        return cls(seq, event, data, encode(frame))

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


class Bus(Protocol):
    """Tells other pods that a session has news."""

    def announce(self, session_id: str) -> None:
        """Have it said with the next tick."""


class LiveReply:
    """A reply while it is being written: its text so far, and who is shown it."""

    def __init__(self, session_id: str, reply_id: int, *, local: bool) -> None:
        self.session_id = session_id
        self.reply_id = reply_id
        self.local = local
        self.feed: Feed | None = None
        self.watchers: set[Outbox] = set()
        self.ends: dict[Kind, int] = {"text": 0, "reasoning": 0}
        self.parts: dict[Kind, list[str]] = {"text": [], "reasoning": []}

    def append(self, kind: Kind, content: str) -> None:
        """Show a piece to everybody, at once."""
        offset = self.ends[kind]
        self.ends[kind] = end = offset + len(content)
        self.parts[kind].append(content)
        feed = self.feed
        if not self.watchers and (feed is None or not feed.live):
            return
        delta = Delta(reply_id=self.reply_id, offset=offset, end=end, content=content, kind=kind)
        data = encode(delta)
        for outbox in list(self.watchers):
            outbox.delta(delta, data)
        if feed is not None:
            for outbox in list(feed.live):
                outbox.delta(delta, data)

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

    def __init__(self, session_id: str, live: Live) -> None:
        self.session_id = session_id
        self.live: set[Outbox] = set()
        self.seen = -1
        self.epoch: str | None = None
        self.user_id: str | None = None
        self.users = 0
        self.waiters: set[Callable[[LiveEvent | None], None]] = set()
        self.replies: dict[int, LiveReply] = {}
        self.deleted = False
        self.lost = False
        self.stale = False
        self.loading: asyncio.Task[None] | None = None
        self._live = live
        self._waiting: dict[int, LiveEvent] = {}

    @property
    def loaded(self) -> bool:
        """Whether it is known where the session stands."""
        return self.seen >= 0

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
            if event.seq > self.seen:
                self._waiting[event.seq] = event
        if not self.loaded:
            return True
        while (following := self._waiting.pop(self.seen + 1, None)) is not None:
            self._show(following)
        return not self._waiting

    def start_from(self, seq: int, epoch: str | None, user_id: str | None) -> None:
        """What clients see of this session begins after event ``seq``."""
        self.epoch, self.user_id = epoch, user_id
        self.seen = seq
        self._waiting = {n: event for n, event in self._waiting.items() if n > seq}
        self.offer(())

    def _show(self, event: LiveEvent) -> None:
        self.seen = event.seq
        if event.event == names.SESSION_CREATED:
            self.user_id = event.data.get("user_id")
        # First those who may find that somebody must not be shown it.
        for waiter in list(self.waiters):
            waiter(event)
        for outbox in list(self.live):
            outbox.frame(event.frame, event.seq)
        if event.event == names.REPLY_STARTED:
            self.watch(event.data["reply_id"])
        elif event.event in names.REPLY_ENDINGS:
            reply = self.replies.pop(event.data["reply_id"], None)
            if reply is not None:
                reply.feed = None

    def watch(self, reply_id: int) -> LiveReply:
        """Show a reply's text as it comes, and first what there is of it."""
        reply = self.replies.get(reply_id)
        if reply is None:
            reply = self._live.local_reply(reply_id) or LiveReply(
                self.session_id, reply_id, local=False
            )
            self.replies[reply_id] = reply
            reply.feed = self
            if reply.ends["text"] or reply.ends["reasoning"]:
                for frame in reply.snapshots():
                    for outbox in list(self.live):
                        outbox.frame(frame)
        return reply

    def end(self) -> None:
        """The session was deleted: tell everybody, once."""
        if self.deleted:
            return
        self.deleted = True
        for outbox in list(self.live):
            self.part(outbox)
        self._leave()

    def cut(self) -> None:
        """Events are missing that can't be had any more: all come back and resume."""
        self.lost = True
        for outbox in list(self.live):
            self.part(outbox)
        self._leave()

    def part(self, outbox: Outbox) -> None:
        """Send away a client of a session that is over."""
        if not self.deleted:
            outbox.overflow()
            return
        notice = EventFrame(
            seq=UNSET,
            event=names.SESSION_DELETED,
            session_id=self.session_id,
            ts=datetime.now(UTC),
            data={"session_id": self.session_id},
        )
        outbox.frame(encode(notice))
        outbox.gone()

    def _leave(self) -> None:
        self.live.clear()
        for waiter in list(self.waiters):
            waiter(None)

    def forget(self) -> None:
        """Nobody watches any more."""
        for reply in self.replies.values():
            reply.feed = None


class Live:
    """All watched sessions of this process, and the reader that keeps them current."""

    def __init__(
        self,
        sessions: SessionStore,
        messages: MessageStore,
        events: EventStore,
        chunks: ReplyChunkStore,
        bus: Bus,
        tasks: TaskOwner,
    ) -> None:
        self._sessions = sessions
        self._messages = messages
        self._events = events
        self._chunks = chunks
        self._bus = bus
        self._tasks = tasks
        self._feeds: dict[str, Feed] = {}
        self._local: dict[int, LiveReply] = {}
        self._dirty: set[str] = set()
        self._polled: set[str] = set()
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Begin to read news. To be called in the running loop."""
        self._tasks.start(self._read_forever(), "news")

    # What the writers of this process say.

    def begin(self, session_id: str, reply_id: int) -> LiveReply:
        """A reply that this process is going to write."""
        reply = self._local[reply_id] = LiveReply(session_id, reply_id, local=True)
        feed = self._feeds.get(session_id)
        if feed is not None and reply_id in feed.replies:
            # A client came between the commit and here, and saw a reply that nobody wrote yet.
            feed.replies[reply_id] = reply
            reply.feed = feed
        return reply

    def finish(self, reply: LiveReply) -> None:
        """This process no longer writes the reply."""
        self._local.pop(reply.reply_id, None)
        reply.watchers.clear()

    def local_reply(self, reply_id: int) -> LiveReply | None:
        """A reply that this process writes now."""
        return self._local.get(reply_id)

    def offer(self, session_id: str, *events: LiveEvent) -> None:
        """Events that this process has committed."""
        self._bus.announce(session_id)
        feed = self._feeds.get(session_id)
        if feed is not None and not feed.offer(events):
            self.refresh((session_id,))

    def announce(self, session_id: str) -> None:
        """New text of a reply of this process is stored."""
        self._bus.announce(session_id)

    def created(self, session_id: str, epoch: str) -> None:
        """This process has made the session; called before its first events are offered."""
        feed = self._feeds.get(session_id)
        if feed is not None and feed.epoch is None:
            feed.epoch = epoch

    def deleted(self, session_id: str) -> None:
        """This process has deleted the session."""
        self._bus.announce(session_id)
        feed = self._feeds.get(session_id)
        if feed is not None:
            self._end(feed)

    def refresh(self, session_ids: Collection[str] | None) -> None:
        """Read what is new in these sessions (None: in all watched ones)."""
        if session_ids is None:
            self._dirty.update(self._feeds)
        else:
            heard = [s for s in session_ids if s in self._feeds]
            self._dirty.update(heard)
            self._polled.difference_update(heard)
        if self._dirty:
            self._wake.set()

    # What the clients of this process ask for.

    async def open_feed(self, session_id: str) -> Feed:
        """The feed of a session, loaded; to be given back by ``release``."""
        feed = self._feeds.get(session_id)
        if feed is None:
            feed = self._feeds[session_id] = Feed(session_id, self)
            feed.loading = self._tasks.start(self._load(feed), "load")
        feed.users += 1
        try:
            while not feed.loaded:
                assert feed.loading is not None
                await asyncio.wait([feed.loading])
                if not feed.loaded:
                    feed.loading.result()
        except BaseException:
            self.release(feed)
            raise
        return feed

    def release(self, feed: Feed) -> None:
        """A client of a feed is gone."""
        feed.users -= 1
        if feed.users == 0:
            feed.forget()
            self._drop(feed)

    async def _load(self, feed: Feed) -> None:
        session = await self._sessions.get(feed.session_id)
        streaming = await self._messages.streaming([feed.session_id]) if session else []
        remote = [reply for reply in streaming if reply.reply_id not in self._local]
        chunks = await self._chunks.after({r.reply_id: 0 for r in remote}) if remote else []
        for known in streaming:
            feed.watch(known.reply_id)
        self._append(feed, chunks)
        if session is None:
            feed.start_from(0, None, None)
        else:
            feed.start_from(session.last_seq, session.epoch, session.user_id)
        if feed.stale or feed.gap:  # news came while it was read, which may have missed them
            self.refresh((feed.session_id,))

    # How news of other pods, and gaps, are read.

    async def _read_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                batch = [self._dirty.pop() for _ in range(min(len(self._dirty), SESSIONS_A_POLL))]
                feeds: dict[str, Feed] = {}
                for session_id in batch:
                    feed = self._feeds.get(session_id)
                    if feed is not None and feed.loaded:
                        feeds[session_id] = feed
                    elif feed is not None:
                        feed.stale = True
                try:
                    await self._read(feeds)
                except OperatorError as error:
                    log.warning("news could not be read", error=str(error.code))
                    self._dirty.update(batch)
                    await asyncio.sleep(RETRY_AFTER)

    async def catch_up(self, feed: Feed) -> None:
        """Read now what is new in one session. Raises OperatorError(database_unavailable)."""
        if self._feeds.get(feed.session_id) is feed and feed.loaded:
            await self._read({feed.session_id: feed})

    async def _read(self, feeds: dict[str, Feed]) -> None:
        if not feeds:
            return
        behind: dict[str, int] = {}
        newest: dict[str, int] = {}
        for news in await self._sessions.news({s: f.seen for s, f in feeds.items()}):
            feed = feeds[news.session_id]
            if news.epoch is None or (feed.epoch is not None and news.epoch != feed.epoch):
                if feed.epoch is not None:
                    self._end(feed)
                continue
            feed.epoch = news.epoch
            behind[news.session_id] = feed.seen
            newest[news.session_id] = news.last_seq or 0
            if news.session_id in self._polled:
                telemetry.POLL_REPAIRS.inc()
        if behind:
            rows = await self._events.after_each(behind, EVENTS_A_READ)
            for row in rows:
                feeds[row.session_id].offer((LiveEvent.of_row(row),))
            if len(rows) == EVENTS_A_READ:
                self.refresh(behind)
            else:
                stuck = {s: f for s, seq in newest.items() if (f := feeds[s]).seen < seq}
                await self._look_why(stuck)
        ends = {
            reply.reply_id: reply.ends["text"]
            for feed in feeds.values()
            for reply in feed.replies.values()
            if not reply.local
        }
        if ends:
            by_reply = {r: f for f in feeds.values() for r in f.replies}
            for chunk in await self._chunks.after(ends):
                self._append(by_reply[chunk.reply_id], [chunk])

    async def _look_why(self, stuck: dict[str, Feed]) -> None:
        """Events that are not there: their session was deleted in this moment, or the feed slept
        through their life, can't show them any more, and its clients resume on another."""
        if not stuck:
            return
        for news in await self._sessions.news({s: f.seen for s, f in stuck.items()}):
            feed = stuck[news.session_id]
            if news.epoch != feed.epoch:
                self._end(feed)
            elif not feed.over:
                log.warning("events were purged before they were shown", session_id=feed.session_id)
                self._drop(feed)
                feed.cut()

    def _append(self, feed: Feed, chunks: Iterable[Any]) -> None:
        for chunk in chunks:
            reply = feed.replies.get(chunk.reply_id)
            if reply is not None and not reply.local and reply.ends["text"] == chunk.offset:
                reply.append("text", chunk.content)

    def _end(self, feed: Feed) -> None:
        self._drop(feed)
        feed.end()

    def _drop(self, feed: Feed) -> None:
        if self._feeds.get(feed.session_id) is feed:
            del self._feeds[feed.session_id]

    @property
    def watched(self) -> bool:
        """Whether anybody watches a session here."""
        return bool(self._feeds)

    def poll(self) -> None:
        """Look whether a notification was lost."""
        self._polled = set(self._feeds) - self._dirty
        self.refresh(None)
