"""Subscriptions: a client that watches a session, from where, and how it catches up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from operator_svc import telemetry
from operator_svc.protocol.frames import MAX_FRAME, Resumed, Resync, SessionState, encode
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.feed import Feed
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.live.reply_stream import Kind
from operator_svc.services.live.send_queue import SendQueue
from operator_svc.stores.events import EventRow, EventStore

REPLAY_PAGE, REPLAY_BYTES = 100, 128 * 1024
"""Events, and bytes of them, read at once while replaying: held for a client that is slow."""
RESYNC_MESSAGES = 50
"""Newest messages that a resync starts from (``api.md``, server frames); fewer where its frame
would be larger than ``MAX_FRAME``."""
RESYNC_HEAD = 1024
"""Bytes of a resync beside its messages, and some to spare."""

Ends: TypeAlias = dict[tuple[int, Kind], int]
"""Up to which code point a client was sent each reply's texts."""


class SessionSnapshot(NamedTuple):
    """A session's newest messages, and the number of an event that is not newer than they are."""

    seq: int
    epoch: str
    state: SessionState


class SnapshotSource(Protocol):
    """Reads the state for a client's resync."""

    async def snapshot(self, session_id: str, limit: int, size: int) -> SessionSnapshot | None:
        """The session with up to ``limit`` messages, of which as many as have ``size`` bytes as
        JSON; None where there is no such session."""


class Subscription:
    """A client's view of one session. ``close`` gives it back."""

    __slots__ = ("_catching_up", "_closed", "_source", "feed", "send_queue")

    def __init__(self, source: Subscriptions, feed: Feed, send_queue: SendQueue) -> None:
        self._source = source
        self._closed = False
        self._catching_up = asyncio.Lock()
        self.feed = feed
        self.send_queue = send_queue

    def join(self) -> None:
        """Show what comes from now on, and the replies that are being written."""
        for reply in self.feed.replies.values():
            reply.send_snapshots((self.send_queue,))
        self._go_live()

    async def begin(self, seq: int) -> None:
        """As ``join``, for a client that knows event ``seq`` as the newest; at its pace,
        however much there is to show. Raises as ``resume``.
        """
        async with self._catching_up:
            await self._follow(seq)

    async def resume(self, after: int, epoch: str | None) -> None:
        """Replay the events after ``after`` at the client's pace, then go on live.

        Where that is not possible (too many, purged, or of another epoch) the client is given
        a state to start from. Raises ConnectionError when the client is gone, and OperatorError
        (database_unavailable, rate_limited), after which it is shown nothing more.
        """
        self.send_queue.budget.check()
        async with self._catching_up:
            feed = self.feed
            feed.subscribers.discard(self.send_queue)
            if after > feed.last_seq:  # another pod may have shown more than this one has read
                await self._source.hub.catch_up(feed)
            behind = feed.last_seq - after
            cursor: int | None = None
            if epoch in (None, feed.epoch) and 0 <= behind <= self._source.resume_limit:
                cursor = await self._replay(after)
            if cursor is not None:
                telemetry.RESUMES.labels("resumed").inc()
                await self.send_queue.send(encode(Resumed(after=after, seq=cursor)))
            await self._follow(cursor)

    async def _follow(self, cursor: int | None) -> None:
        """Send what is missing, events from ``cursor`` on and texts, until nothing is and the
        client has taken it; then go live. Nothing is awaited between the last look and that.

        A client slower than its session is thus served for ever here, in pieces as large as its
        pace makes them, and never cut off for what it missed before.
        """
        ends: Ends = {}
        while not self.feed.over:
            if cursor is None:
                cursor = await self._resync()
                ends.clear()
            if cursor is not None:
                cursor = await self._replay(cursor)
            if cursor is not None and not await self._send_texts(ends) and self.send_queue.idle:
                break
            await self.send_queue.wait_drained()
        self._go_live()

    def _go_live(self) -> None:
        if self.feed.over:
            self.feed.dismiss(self.send_queue)
        else:
            self.feed.subscribers.add(self.send_queue)

    async def _replay(self, cursor: int) -> int | None:
        """Send what follows on ``cursor`` up to what the feed has shown; where that ended, or
        None where events are not kept any more."""
        while cursor < self.feed.last_seq and not self.feed.over:
            await self.send_queue.wait_drained()
            page = await self._source.events.after(
                self.feed.session_id, cursor, REPLAY_PAGE, REPLAY_BYTES
            )
            if not page.rows:  # purged; or the session is gone, and it is time that the feed knows
                await self._source.hub.catch_up(self.feed)
                return None
            events = self._following(page.rows, cursor)
            await self.send_queue.send_all((event.frame, event.seq) for event in events)
            if len(events) < len(page.rows):
                return None
            cursor = events[-1].seq
        return cursor

    def _following(self, rows: Iterable[EventRow], cursor: int) -> list[LiveEvent]:
        """The events of ``rows`` up to the first gap after ``cursor``; the feed has shown them."""
        events: list[LiveEvent] = []
        for seq, row in enumerate(rows, cursor + 1):
            event = LiveEvent.of_row(row, self.feed.epoch)
            if event.seq != seq:
                break
            if event.seq > self.feed.last_seq:
                self.feed.add((event,))
            events.append(event)
        return events

    async def _send_texts(self, ends: Ends) -> bool:
        """Send what ``ends`` lacks of the replies that are being written; False where nothing."""
        sent = False
        for reply in list(self.feed.replies.values()):
            for kind, end in list(reply.ends.items()):
                shown = ends.get((reply.reply_id, kind))
                if shown == end or (shown is None and not end and kind != "text"):
                    continue
                if reply.reply_id not in self.feed.replies:
                    break  # its last event comes next, and nothing after that
                for frame in reply.frames(kind, shown):
                    await self.send_queue.send(encode(frame))
                    ends[reply.reply_id, kind] = frame.end
                sent = True
        return sent

    async def _resync(self) -> int | None:
        """Send a state to start from, and the number of its last event; None where the feed had
        to learn first that its session is another now."""
        snapshot = await self._source.snapshots.snapshot(
            self.feed.session_id, RESYNC_MESSAGES, MAX_FRAME - RESYNC_HEAD
        )
        seq, epoch, state = snapshot or (0, None, SessionState(messages=[], next_before=None))
        if epoch != self.feed.epoch or seq > self.feed.last_seq:
            await self._source.hub.catch_up(self.feed)
            if epoch != self.feed.epoch or seq > self.feed.last_seq:
                return None
        frame = Resync(seq=seq, epoch=epoch, snapshot=state)
        telemetry.RESUMES.labels("resync").inc()
        await self.send_queue.send(encode(frame))
        return seq

    def close(self) -> None:
        """The client is gone."""
        if self._closed:
            return
        self._closed = True
        self.feed.subscribers.discard(self.send_queue)
        self.send_queue.close()
        self._source.hub.release(self.feed)


@dataclass(frozen=True)
class Subscriptions:
    """Opens subscriptions; ``resume_limit`` is the most events that one replays."""

    hub: SessionHub
    events: EventStore
    snapshots: SnapshotSource
    resume_limit: int

    async def open(self, session_id: str, send_queue: SendQueue) -> Subscription:
        """Watch a session, whether it exists yet or not; nothing is shown before ``join``.

        Raises OperatorError(database_unavailable).
        """
        return Subscription(self, await self.hub.open_feed(session_id), send_queue)
