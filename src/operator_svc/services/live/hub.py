"""All watched sessions of this process, and the reader that keeps them current."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from datetime import datetime
from time import perf_counter
from typing import Any, Protocol

import structlog

from operator_svc import telemetry
from operator_svc.background import TaskOwner
from operator_svc.errors import OperatorError
from operator_svc.services.live.feed import Feed, LiveEvent, ReplyStream
from operator_svc.stores.events import EventStore
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.sessions import SessionStore

log = structlog.get_logger(__name__)

EVENTS_A_READ = 1000
"""Events read at once for all sessions that have news."""
SESSIONS_A_POLL = 5000
"""Watched sessions that one poll asks for; more are asked for in pieces."""
RETRY_AFTER = 1.0
"""Seconds after which news that could not be read are asked for again."""


class Bus(Protocol):
    """Tells other pods that a session has news."""

    def announce(self, session_id: str) -> None:
        """Have it said with the next tick."""


class StoredRecord(Protocol):
    """A record as it was stored, with the number, time and data of the event that says so.

    ``seq`` and ``ts`` are None where the record belongs to no session.
    """

    @property
    def seq(self) -> int | None:
        """The event's number in its session."""

    @property
    def ts(self) -> datetime | None:
        """The event's time, by the database's clock."""

    @property
    def data(self) -> Any:
        """The event's data."""


class SessionHub:
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
        self._local: dict[int, ReplyStream] = {}
        self._dirty: set[str] = set()
        self._polled: set[str] = set()
        self._heard: dict[str, float] = {}
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Begin to read news. To be called in the running loop."""
        self._tasks.start(self._read_forever(), "news")

    # What the writers of this process say.

    def begin(self, session_id: str, reply_id: int) -> ReplyStream:
        """A reply that this process is going to write."""
        reply = self._local[reply_id] = ReplyStream(session_id, reply_id, local=True)
        feed = self._feeds.get(session_id)
        if feed is not None and reply_id in feed.replies:
            # A client came between the commit and here, and saw a reply that nobody wrote yet.
            feed.replies[reply_id] = reply
            reply.feed = feed
        return reply

    def finish(self, reply: ReplyStream) -> None:
        """This process no longer writes the reply."""
        self._local.pop(reply.reply_id, None)
        reply.watchers.clear()

    def local_reply(self, reply_id: int) -> ReplyStream | None:
        """A reply that this process writes now."""
        return self._local.get(reply_id)

    def publish(self, session_id: str, *events: LiveEvent) -> None:
        """Show events that this process has committed, and notify the other pods."""
        self.notify_pods(session_id)
        feed = self._feeds.get(session_id)
        if feed is not None and not feed.offer(events):
            self.refresh((session_id,))

    def publish_record(self, session_id: str | None, event: str, record: StoredRecord) -> None:
        """Publish the event that was stored with a record; a record without a session has none."""
        if session_id is not None and record.seq is not None and record.ts is not None:
            self.publish(
                session_id,
                LiveEvent.make(session_id, record.seq, event, record.ts, record.data),
            )

    def notify_pods(self, session_id: str) -> None:
        """Have the other pods read what is new in a session, with the next tick."""
        self._bus.announce(session_id)

    def created(self, session_id: str, epoch: str) -> None:
        """This process has made the session; called before its first events are offered."""
        feed = self._feeds.get(session_id)
        if feed is not None and feed.epoch is None:
            feed.epoch = epoch

    def awaited(self, session_id: str) -> bool:
        """Whether clients watch a session that, as far as is known here, is not there yet."""
        feed = self._feeds.get(session_id)
        return feed is not None and feed.epoch is None

    def deleted(self, session_id: str) -> None:
        """This process has deleted the session."""
        self.notify_pods(session_id)
        feed = self._feeds.get(session_id)
        if feed is not None:
            self._end(feed)

    def heard(self, session_ids: Collection[str] | None) -> None:
        """Another process has notified of news in these sessions (None: in any)."""
        now = perf_counter()
        for session_id in self._feeds if session_ids is None else session_ids:
            if session_id in self._feeds:
                self._heard.setdefault(session_id, now)
        self.refresh(session_ids)

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
            feed = self._feeds[session_id] = Feed(session_id, self.local_reply)
            feed.loading = self._tasks.start(self._load(feed), "load")
        feed.refs += 1
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
        feed.refs -= 1
        if feed.refs == 0:
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
                heard = {s: self._heard.pop(s) for s in batch if s in self._heard}
                try:
                    await self._read(feeds)
                except OperatorError as error:
                    log.warning("news could not be read", error=str(error.code))
                    self._dirty.update(batch)
                    self._heard = heard | self._heard
                    await asyncio.sleep(RETRY_AFTER)
                else:
                    shown = perf_counter()
                    for session_id, since in heard.items():
                        if session_id in feeds:
                            telemetry.BUS_DELAY_SECONDS.observe(shown - since)

    async def catch_up(self, feed: Feed) -> None:
        """Read now what is new in one session. Raises OperatorError(database_unavailable)."""
        if self._feeds.get(feed.session_id) is feed and feed.loaded:
            await self._read({feed.session_id: feed})

    async def _read(self, feeds: dict[str, Feed]) -> None:
        if not feeds:
            return
        behind: dict[str, int] = {}
        newest: dict[str, int] = {}
        for news in await self._sessions.news({s: f.last_seq for s, f in feeds.items()}):
            feed = feeds[news.session_id]
            if news.epoch is None or (feed.epoch is not None and news.epoch != feed.epoch):
                if feed.epoch is not None:
                    self._end(feed)
                continue
            feed.epoch = news.epoch
            behind[news.session_id] = feed.last_seq
            newest[news.session_id] = news.last_seq or 0
            if news.session_id in self._polled:
                telemetry.MISSED_NOTIFICATIONS.inc()
        if behind:
            rows = await self._events.after_each(behind, EVENTS_A_READ)
            for row in rows:
                feeds[row.session_id].offer((LiveEvent.of_row(row),))
            if len(rows) == EVENTS_A_READ:
                self.refresh(behind)
            else:
                stuck = {s: f for s, seq in newest.items() if (f := feeds[s]).last_seq < seq}
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
        for news in await self._sessions.news({s: f.last_seq for s, f in stuck.items()}):
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
