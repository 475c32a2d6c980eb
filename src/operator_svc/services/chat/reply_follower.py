"""One reply, shown to a client that asked for it and for nothing else of its session."""

from __future__ import annotations

import asyncio
from datetime import datetime

from msgspec import UNSET

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ReplyStatus
from operator_svc.protocol import events as names
from operator_svc.protocol.chat import ReplyView
from operator_svc.protocol.frames import EventFrame, encode
from operator_svc.services.chat.chats import RECHECK, Accepted
from operator_svc.services.chat.history import Histories
from operator_svc.services.chat.reply_writer import RunningReply
from operator_svc.services.live.feed import Feed, LiveEvent
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.live.send_queue import SendQueue
from operator_svc.stores.events import EventStore
from operator_svc.stores.messages import last_event

ANYBODY = Caller()
"""Who asked was let in before."""


class ReplyFollower:
    """Sends a reply's events and its text, up to its last event."""

    def __init__(
        self,
        hub: SessionHub,
        events: EventStore,
        histories: Histories,
        accepted: Accepted,
        send_queue: SendQueue,
    ) -> None:
        self._hub = hub
        self._events = events
        self._histories = histories
        self._accepted = accepted
        self._send_queue = send_queue
        self._sent = 0
        self._ending: LiveEvent | None = None
        self._news = asyncio.Event()

    async def run(self) -> None:
        """See Watching.follow."""
        running = self._accepted.running
        if running is not None and not running.done.done():
            await self._here(running)
        else:
            await self._anywhere()

    async def _here(self, running: RunningReply) -> None:
        """A reply that this process writes; it brings its last event itself."""
        for event in self._accepted.events:
            if event.event == names.REPLY_STARTED:
                self._send(event)
        hub = running.stream
        if hub.ends["text"] or hub.ends["reasoning"]:
            for frame in hub.snapshots():
                self._send_queue.frame(frame)
        hub.watchers.add(self._send_queue)
        try:
            outcome = await asyncio.shield(running.done)
        finally:
            hub.watchers.discard(self._send_queue)
        if outcome is None:  # this process lost it
            await self._anywhere()

    async def _anywhere(self) -> None:
        """A reply that another process writes, or one that has ended."""
        feed = await self._hub.open_feed(self._accepted.session_id)
        feed.listeners.add(self._see)
        try:
            while not await self._tell(feed):
                self._hub.refresh((feed.session_id,))
                try:
                    async with asyncio.timeout(RECHECK):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            feed.listeners.discard(self._see)
            self._hub.release(feed)

    async def _tell(self, feed: Feed) -> bool:
        """Send what there is; False where the reply's end is still to come."""
        self._news.clear()
        reply_id = self._accepted.reply_id
        stored = await self._stored()  # before its events are read: they are at least as new
        for row in await self._events.of_message(feed.session_id, reply_id):
            event = LiveEvent.of_row(row)
            if event.event in names.REPLY_ENDINGS:
                self._ending = event
            elif event.event == names.REPLY_STARTED:
                self._send(event)
        reply = feed.replies.get(reply_id)
        if self._ending is None and reply is not None and not feed.over:
            for frame in reply.snapshots():
                self._send_queue.frame(frame)
            reply.watchers.add(self._send_queue)
            try:
                while self._ending is None and not feed.over:
                    await self._news.wait()
                    self._news.clear()
            finally:
                reply.watchers.discard(self._send_queue)
        if self._ending is not None:
            self._send(self._ending)
            return True
        if feed.over:
            feed.part(self._send_queue)
            return True
        if stored.finished_at is None:
            return False
        self._send_queue.frame(encode(_unnumbered(stored, stored.finished_at)))
        return True

    async def _stored(self) -> ReplyView:
        try:
            return await self._histories.reply(ANYBODY, self._accepted.reply_id)
        except OperatorError as error:
            if error.code is not ErrorCode.REPLY_NOT_FOUND:
                raise
            raise OperatorError(ErrorCode.SESSION_NOT_FOUND, "the session was deleted") from error

    def _see(self, event: LiveEvent | None) -> None:
        if (
            event is not None
            and event.event in names.REPLY_ENDINGS
            and event.data["reply_id"] == self._accepted.reply_id
        ):
            self._ending = event
        self._news.set()

    def _send(self, event: LiveEvent) -> None:
        if event.seq > self._sent:
            self._sent = event.seq
            self._send_queue.frame(event.frame, event.seq)


def _unnumbered(reply: ReplyView, ended_at: datetime) -> EventFrame:
    """The last event of a reply whose events are not kept any more: its number is not known."""
    return EventFrame(
        seq=UNSET,
        event=last_event(ReplyStatus(reply.status)),
        session_id=reply.session_id,
        ts=ended_at,
        data=names.reply_ended(
            reply.reply_id, reply.message_id, reply.status, reply.content, reply.metadata
        ),
    )
