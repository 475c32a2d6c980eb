"""One client that watches a session: from where, and how it catches up."""

from __future__ import annotations

from operator_svc import telemetry
from operator_svc.protocol.frames import Resumed, Resync, SessionState, encode
from operator_svc.services.history import Histories
from operator_svc.services.live import Feed, Live, LiveEvent
from operator_svc.services.outbox import Outbox
from operator_svc.stores.events import EventStore

REPLAY_PAGE = 100
"""Events read at once while replaying."""
RESYNC_MESSAGES = 50
"""Newest messages that a resync starts from (``api.md``, server frames)."""


class Subscription:
    """A client's view of one session. ``close`` gives it back."""

    def __init__(
        self,
        live: Live,
        feed: Feed,
        events: EventStore,
        histories: Histories,
        outbox: Outbox,
        resume_limit: int,
    ) -> None:
        self._live = live
        self._events = events
        self._histories = histories
        self._resume_limit = resume_limit
        self._closed = False
        self.feed = feed
        self.outbox = outbox

    def join(self) -> None:
        """Show what comes from now on, and the replies that are being written."""
        for reply in self.feed.replies.values():
            for frame in reply.snapshots():
                self.outbox.frame(frame)
        if self.feed.deleted:
            self.outbox.gone()
        else:
            self.feed.live.add(self.outbox)

    async def resume(self, after: int, epoch: str | None) -> None:
        """Replay the events after ``after`` at the client's pace, then go on live.

        Where that is not possible (too many, purged, or of another epoch) the client is given
        a state to start from. Raises ConnectionError when the client is gone.
        """
        self.feed.live.discard(self.outbox)
        behind = self.feed.seen - after
        known = epoch is None or epoch == self.feed.epoch
        cursor = after
        fits = known and 0 <= behind <= self._resume_limit
        if fits:
            cursor = await self._replay(after)
            fits = cursor == self.feed.seen
        if fits:
            telemetry.RESUMES.labels("resumed").inc()
            self.outbox.frame(encode(Resumed(after=after, seq=cursor)))
        while not fits:
            telemetry.RESUMES.labels("resync").inc()
            cursor = await self._resync()
            cursor = await self._replay(cursor)
            fits = cursor == self.feed.seen
        self.join()

    async def _replay(self, cursor: int) -> int:
        """Send what follows on ``cursor`` up to what the feed has shown; where that ended."""
        while cursor < self.feed.seen:
            rows = await self._events.after(self.feed.session_id, cursor, REPLAY_PAGE)
            if not rows:
                break
            for row in rows:
                event = LiveEvent.of_row(row)
                if event.seq > self.feed.seen:
                    self.feed.offer((event,))
                if event.seq != cursor + 1:
                    return cursor
                await self.outbox.send(event.frame, event.seq)
                cursor = event.seq
        return cursor

    async def _resync(self) -> int:
        state = await self._histories.state(self.feed.session_id, RESYNC_MESSAGES)
        seq = state.seq if state else 0
        frame = Resync(
            seq=seq,
            epoch=state.epoch if state else None,
            snapshot=SessionState(
                messages=state.messages if state else [],
                next_before=state.next_before if state else None,
            ),
        )
        if seq > self.feed.seen:
            for row in await self._events.after(
                self.feed.session_id, self.feed.seen, seq - self.feed.seen
            ):
                self.feed.offer((LiveEvent.of_row(row),))
        await self.outbox.send(encode(frame))
        return seq

    def close(self) -> None:
        """The client is gone."""
        if self._closed:
            return
        self._closed = True
        self.feed.live.discard(self.outbox)
        self.outbox.close()
        self._live.release(self.feed)


class Watching:
    """Opens subscriptions."""

    def __init__(
        self, live: Live, events: EventStore, histories: Histories, resume_limit: int
    ) -> None:
        self._live = live
        self._events = events
        self._histories = histories
        self._resume_limit = resume_limit

    async def open(self, session_id: str, outbox: Outbox) -> Subscription:
        """Watch a session, whether it exists yet or not; nothing is shown before ``join``."""
        feed = await self._live.open_feed(session_id)
        return Subscription(
            self._live, feed, self._events, self._histories, outbox, self._resume_limit
        )
