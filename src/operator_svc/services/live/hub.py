"""All watched sessions of this process: writers publish here, clients open feeds here."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime
from time import perf_counter
from typing import Any, Protocol

import structlog

from operator_svc import telemetry
from operator_svc.background import TaskOwner, forever
from operator_svc.bus import Bus, ReplyPiece
from operator_svc.errors import OperatorError
from operator_svc.services.live.dismissals import Dismissals
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.feed import Feed
from operator_svc.services.live.feed_reader import FeedReader
from operator_svc.services.live.reply_stream import Kind, LocalReplies, ReplyStream

log = structlog.get_logger(__name__)

SESSIONS_A_READ = 5000
"""Watched sessions that one read asks for; more are asked for in pieces."""
RETRY_AFTER = 1.0
"""Seconds after which news that could not be read are asked for again."""


class HasEvent(Protocol):
    """A row with the event that was stored with it; ``seq`` is None where none was."""

    @property
    def seq(self) -> int | None:
        """The event's number in its session."""

    @property
    def ts(self) -> datetime:
        """The event's time, by the database's clock."""

    @property
    def data(self) -> Any:
        """The event's data."""


class SessionHub:
    """Shows each event and each piece of text to the clients of this process.

    What this process writes comes by ``publish``. What other pods write is read from the database
    when they notify of it (``on_notification``), or by the next ``poll``.
    """

    def __init__(self, reader: FeedReader, local: LocalReplies, bus: Bus, tasks: TaskOwner) -> None:
        self._reader = reader
        self._local = local
        self._bus = bus
        self._tasks = tasks
        self._dismissals = Dismissals()
        self._feeds: dict[str, Feed] = {}
        self._loads: dict[Feed, asyncio.Task[OperatorError | None]] = {}
        self._dirty: set[str] = set()
        self._polled: set[str] = set()
        self._missed: set[str] = set()
        self._notified_at: dict[str, float] = {}
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Begin to read news, and to send clients away. To be called in the running loop."""
        self._tasks.start(self._read_forever(), "news")
        self._tasks.start(forever(self._dismissals.run, 0.0, "dismissals"), "dismissals")

    @property
    def watched(self) -> bool:
        """True while anybody watches a session here."""
        return bool(self._feeds)

    # For the writers of this process.

    def publish(self, session_id: str, *events: LiveEvent, epoch: str | None = None) -> None:
        """Show events that this process has committed, and notify the other pods.

        ``epoch`` is the session's at their commit, where something was waited for since then: a
        switch-over may have lost them meanwhile, and others have their numbers.
        """
        self.notify_pods(session_id)
        feed = self._feeds.get(session_id)
        if feed is None:
            return
        if epoch not in (None, feed.epoch) or not feed.add(events):
            self.refresh((session_id,))

    def publish_record(self, session_id: str | None, event: str, stored: HasEvent) -> None:
        """Publish the event that was stored with a record; a record without a session has none."""
        if session_id is not None and stored.seq is not None:
            self.publish(
                session_id, LiveEvent(session_id, stored.seq, event, stored.ts, stored.data)
            )

    def begin_reply(self, reply: ReplyStream) -> None:
        """Show a reply that this process is going to write, where clients know of it already, and
        hear what other pods do to its session, until ``end_reply``."""
        self._bus.subscribe(reply.session_id)
        if self._bus.carries_text:
            reply.add_reader(_TextSender(self._bus, reply))
        feed = self._feeds.get(reply.session_id)
        if feed is not None:
            feed.adopt(reply)

    def end_reply(self, reply: ReplyStream) -> None:
        """This process does not write the reply any more."""
        self._bus.unsubscribe(reply.session_id)

    def text_stored(self, reply: ReplyStream) -> None:
        """More of a reply that this process writes is stored: the other pods may need it."""
        if not self._bus.send_piece(_piece(reply, reply.stored_end, "")):
            self.notify_pods(reply.session_id)

    def session_created(self, session_id: str, epoch: str) -> None:
        """This process has created the session. Call it before its first event is published."""
        feed = self._feeds.get(session_id)
        if feed is not None:
            feed.accepts(epoch)

    def is_watched(self, session_id: str) -> bool:
        """True while anybody watches the session here, so that its events are shown."""
        return session_id in self._feeds

    def is_awaited(self, session_id: str) -> bool:
        """True while clients watch a session that, as far as is known here, is not there yet."""
        feed = self._feeds.get(session_id)
        return feed is not None and feed.epoch is None

    def session_deleted(self, session_id: str) -> None:
        """This process has deleted the session: send its clients away."""
        self.notify_pods(session_id)
        feed = self._feeds.get(session_id)
        if feed is not None:
            feed.delete()

    def invalidate_all(self) -> None:
        """Handle a possible loss of commits: nothing more is shown, and clients, who are sent away,
        reconnect and get a resync."""
        for feed in list(self._feeds.values()):
            feed.invalidate()

    # Between pods.

    def notify_pods(self, session_id: str) -> None:
        """Notify the other pods of new events in a session, with the next tick."""
        self._bus.notify(session_id)

    async def flush_notifications(self) -> None:
        """Notify the other pods of all sessions with news since the last time."""
        await self._bus.flush()

    def on_notification(self, session_ids: Collection[str] | None) -> None:
        """Read what other pods have notified of: news in these sessions (None: in any)."""
        now = perf_counter()
        for session_id in self._feeds if session_ids is None else session_ids:
            if session_id in self._feeds:
                self._notified_at.setdefault(session_id, now)
        self.refresh(session_ids)

    def on_piece(self, piece: ReplyPiece) -> None:
        """Show a piece of a reply that another pod writes."""
        feed = self._feeds.get(piece.session_id)
        if feed is not None and not feed.over and not feed.take(piece):
            telemetry.BUS_GAPS.inc()
            self.refresh((piece.session_id,))

    def poll(self) -> None:
        """Look for news whose notification was lost."""
        if self._feeds:
            self._polled = set(self._feeds) - self._dirty
            self.refresh(None)

    def refresh(self, session_ids: Collection[str] | None) -> None:
        """Read new events of these sessions (None: of all watched ones)."""
        if session_ids is None:
            self._dirty.update(self._feeds)
        else:
            watched = [s for s in session_ids if s in self._feeds]
            self._dirty.update(watched)
            self._polled.difference_update(watched)
        if self._dirty:
            self._wake.set()

    # For the clients of this process.

    async def open_feed(self, session_id: str) -> Feed:
        """The feed of a session, loaded; to be given back by ``release``.

        Raises OperatorError(database_unavailable).
        """
        feed = self._feeds.get(session_id)
        if feed is None or feed.over:
            feed = self._feeds[session_id] = Feed(session_id, self._local, self._dismissals)
            self._bus.subscribe(session_id)
            self._loads[feed] = self._tasks.start(self._load(feed), "load")
        feed.retain()
        try:
            while not feed.loaded:
                load = self._loads[feed]
                await asyncio.wait([load])
                if not feed.loaded and (error := load.result()) is not None:
                    raise error
        except BaseException:
            self.release(feed)
            raise
        return feed

    def release(self, feed: Feed) -> None:
        """Give a feed back; without users it is dropped."""
        if feed.release():
            self._bus.unsubscribe(feed.session_id)
            self._loads.pop(feed, None)
            if self._feeds.get(feed.session_id) is feed:
                del self._feeds[feed.session_id]
                self._missed.discard(feed.session_id)

    async def catch_up(self, feed: Feed) -> None:
        """Read new events of one session now. Raises OperatorError(database_unavailable)."""
        if feed.loaded and not feed.over:
            await self._read({feed.session_id: feed})

    # Reading.

    async def _load(self, feed: Feed) -> OperatorError | None:
        """Load a feed; a failure is an answer here, for it is theirs who wait."""
        try:
            await self._reader.load(feed)
        except OperatorError as error:
            return error
        self._loads.pop(feed, None)
        if feed.session_id in self._missed or feed.has_gap:
            # News came while it was read, which may have missed them.
            self._missed.discard(feed.session_id)
            self.refresh((feed.session_id,))
        return None

    async def _read_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                count = min(len(self._dirty), SESSIONS_A_READ)
                await self._read_news([self._dirty.pop() for _ in range(count)])

    async def _read_news(self, session_ids: list[str]) -> None:
        feeds: dict[str, Feed] = {}
        for session_id in session_ids:
            feed = self._feeds.get(session_id)
            if feed is not None and feed.loaded and not feed.over:
                feeds[session_id] = feed
            elif feed is not None and not feed.loaded:
                self._missed.add(session_id)
        notified_at = {s: self._notified_at.pop(s) for s in session_ids if s in self._notified_at}
        try:
            await self._read(feeds)
        except OperatorError as error:
            log.warning("new events not read", error=str(error.code))
            self._dirty.update(session_ids)
            self._notified_at = notified_at | self._notified_at
            await asyncio.sleep(RETRY_AFTER)
        else:
            shown = perf_counter()
            for session_id, since in notified_at.items():
                if session_id in feeds:
                    telemetry.BUS_DELAY_SECONDS.observe(shown - since)

    async def _read(self, feeds: dict[str, Feed]) -> None:
        if not feeds:
            return
        changed, complete = await self._reader.read(feeds)
        for _ in changed & self._polled:
            telemetry.MISSED_NOTIFICATIONS.inc()
        if not complete:
            self.refresh(changed)


class _TextSender:
    """Sends the other pods the text of a reply as it comes."""

    def __init__(self, bus: Bus, reply: ReplyStream) -> None:
        self._bus = bus
        self._reply = reply

    def piece(self, kind: Kind, offset: int, content: str) -> None:
        """See TextReader.piece; reasoning is shown by the process alone that writes the reply."""
        if kind == "text":
            self._bus.send_piece(_piece(self._reply, offset, content))


def _piece(reply: ReplyStream, offset: int, content: str) -> ReplyPiece:
    return ReplyPiece(reply.session_id, reply.reply_id, reply.begun_at, offset, content)
