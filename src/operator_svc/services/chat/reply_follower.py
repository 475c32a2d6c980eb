"""Follows a reply to its last event, whichever process writes it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Message, ReplyStatus
from operator_svc.protocol import events as names
from operator_svc.services.chat.running_replies import Accepted, ReplyResult, RunningReply
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.feed import Feed
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.live.reply_stream import ReplyStream
from operator_svc.services.live.send_queue import SendQueue
from operator_svc.stores.events import EventStore
from operator_svc.stores.messages import MessageStore, last_event
from operator_svc.stores.sessions import SessionStore

RECHECK = 1.0
"""Seconds after which a reply that no feed shows is looked up in the database again."""


class ReplySink(Protocol):
    """Receives a reply that is followed."""

    wants_text: bool

    def started(self, event: LiveEvent) -> None:
        """The reply's first event; it may come more than once."""

    def attach(self, stream: ReplyStream) -> None:
        """Take the reply's text as it comes."""

    def detach(self, stream: ReplyStream) -> None:
        """Take no more of the text."""

    def dismissed_by(self, feed: Feed) -> bool:
        """A feed is over before the reply; True where that ends the following as well."""


class EndSink:
    """Waits for the reply's end alone."""

    wants_text = False

    def started(self, event: LiveEvent) -> None:
        """See ReplySink.started."""

    def attach(self, stream: ReplyStream) -> None:
        """See ReplySink.attach."""

    def detach(self, stream: ReplyStream) -> None:
        """See ReplySink.detach."""

    def dismissed_by(self, feed: Feed) -> bool:
        """See ReplySink.dismissed_by: the end is stored whether or not a feed shows it."""
        return False


class QueueSink:
    """Sends a client the reply's events and its text."""

    wants_text = True

    def __init__(self, send_queue: SendQueue) -> None:
        self._send_queue = send_queue
        self._started = False

    def started(self, event: LiveEvent) -> None:
        """See ReplySink.started."""
        if not self._started:
            self._started = True
            self._send_queue.event(event)

    def attach(self, stream: ReplyStream) -> None:
        """See ReplySink.attach."""
        if not stream.empty:
            stream.send_snapshots((self._send_queue,))
        stream.add_watcher(self._send_queue)

    def detach(self, stream: ReplyStream) -> None:
        """See ReplySink.detach."""
        stream.remove_watcher(self._send_queue)

    def dismissed_by(self, feed: Feed) -> bool:
        """See ReplySink.dismissed_by."""
        feed.dismiss(self._send_queue)
        return True


class ReplyFollower:
    """Waits for replies, and streams them to clients that watch nothing else of a session."""

    def __init__(
        self,
        hub: SessionHub,
        events: EventStore,
        messages: MessageStore,
        sessions: SessionStore,
    ) -> None:
        self._hub = hub
        self._sessions = sessions
        self._events = events
        self._messages = messages

    async def wait(self, accepted: Accepted) -> ReplyResult:
        """Wait for the reply's end.

        Raises OperatorError: session_not_found where its session was deleted, and
        database_unavailable where its end cannot be stored.
        """
        return await self.follow(accepted, EndSink())

    async def follow(self, accepted: Accepted, sink: ReplySink) -> ReplyResult:
        """Show ``sink``, which no feed dismisses, the reply up to its end. Raises as ``wait``."""
        event = await self._follow(accepted, sink)
        assert event is not None, "no feed ends the waiting"
        return ReplyResult.of_event(event)

    async def stream(self, accepted: Accepted, send_queue: SendQueue) -> None:
        """Send a client the reply's events and text, up to its last event.

        Raises as ``wait``, and ConnectionError when the client is gone.
        """
        event = await self._follow(accepted, QueueSink(send_queue))
        if event is not None:
            send_queue.event(event)

    async def _follow(self, accepted: Accepted, sink: ReplySink) -> LiveEvent | None:
        """The reply's last event; None where the sink was dismissed before."""
        if accepted.running is not None:
            if accepted.started is not None:
                sink.started(accepted.started)
            event = await self._follow_here(accepted.running, sink)
            if event is not None:
                return event
        # Another process writes it, or nobody any more, or this one lost it.
        feed = await self._hub.open_feed(accepted.session_id)
        listener = _Listener(accepted.reply_id)
        feed.listeners.add(listener)
        try:
            return await self._follow_feed(accepted, sink, feed, listener)
        finally:
            feed.listeners.discard(listener)
            self._hub.release(feed)

    async def _follow_here(self, running: RunningReply, sink: ReplySink) -> LiveEvent | None:
        if running.done.done():
            return running.done.result()
        sink.attach(running.stream)
        try:
            return await running.ended()
        finally:
            sink.detach(running.stream)

    async def _follow_feed(
        self, accepted: Accepted, sink: ReplySink, feed: Feed, listener: _Listener
    ) -> LiveEvent | None:
        while listener.ending is None:
            if feed.over and sink.dismissed_by(feed):
                return None
            listener.woken.clear()
            stored = await self._look_up(accepted, sink)
            if stored is not None:
                return stored
            stream = None if feed.over else feed.replies.get(accepted.reply_id)
            if stream is not None:
                sink.attach(stream)
                try:
                    await listener.until_ended(feed)
                finally:
                    sink.detach(stream)
            else:
                self._hub.refresh((feed.session_id,))
                await listener.until_woken(RECHECK)
        return listener.ending

    async def _look_up(self, accepted: Accepted, sink: ReplySink) -> LiveEvent | None:
        """The reply's last event as it is stored; None where it is still to come."""
        # The message is read before its events, which are thus at least as new.
        message = await self._messages.get(accepted.reply_id)
        if message is None or message.created_at != accepted.begun_at:
            raise await self._gone(accepted)
        ended = message.status != ReplyStatus.STREAMING
        if ended or sink.wants_text:
            rows = await self._events.of_message(accepted.session_id, accepted.reply_id)
            for event in (LiveEvent.of_row(row, None) for row in rows):
                if event.ends_reply(accepted.reply_id):
                    return event
                if event.name == names.REPLY_STARTED:
                    sink.started(event)
        return _unnumbered(message) if ended else None

    async def _gone(self, accepted: Accepted) -> OperatorError:
        """The error where a reply is not there any more, whoever has its id by now."""
        if await self._sessions.get(accepted.session_id) is None:
            return OperatorError(ErrorCode.SESSION_NOT_FOUND, "the session was deleted")
        return OperatorError(ErrorCode.REPLY_INTERRUPTED, "the database has lost the reply")


class _Listener:
    """Hears of a session's events, and keeps the last one of a reply."""

    def __init__(self, reply_id: int) -> None:
        self._reply_id = reply_id
        self.woken = asyncio.Event()
        self.ending: LiveEvent | None = None
        self._deleted = False

    def __call__(self, event: LiveEvent | None) -> None:
        if event is not None and event.ends_reply(self._reply_id):
            self.ending = event
        elif event is not None and event.name == names.MESSAGE_DELETED:
            self._deleted = self._deleted or event.data["message_id"] == self._reply_id
        self.woken.set()

    async def until_ended(self, feed: Feed) -> None:
        """Wait until the reply has ended or was deleted, or the feed is over."""
        while self.ending is None and not self._deleted and not feed.over:
            self.woken.clear()
            await self.woken.wait()

    async def until_woken(self, within: float) -> None:
        """Wait for news of the session, or so many seconds."""
        try:
            async with asyncio.timeout(within):
                await self.woken.wait()
        except TimeoutError:
            return


def _unnumbered(message: Message) -> LiveEvent:
    """The last event of a reply whose events are not kept any more: its number is not known."""
    status = ReplyStatus(message.status)
    data = names.reply_ended(
        message.id, message.reply_to, message.status, message.content, message.metadata
    )
    ended_at = message.finished_at or message.created_at
    return LiveEvent(message.session_id, 0, last_event(status), ended_at, data)
