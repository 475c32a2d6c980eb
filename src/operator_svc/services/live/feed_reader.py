"""Reads for feeds what other pods have written, and what is needed to begin a feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import structlog

from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.feed import Feed
from operator_svc.stores.events import EventStore
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.sessions import SessionStore

log = structlog.get_logger(__name__)

EVENTS_A_READ = 1000
"""Events read at once for all sessions that have news."""


class ReadResult(NamedTuple):
    """The sessions with newer events than were shown; ``complete`` where all of them were read."""

    changed: frozenset[str]
    complete: bool


class FeedReader:
    """Brings feeds up to what the database has; a query of each kind for all feeds together."""

    def __init__(
        self,
        sessions: SessionStore,
        messages: MessageStore,
        events: EventStore,
        chunks: ReplyChunkStore,
    ) -> None:
        self._sessions = sessions
        self._messages = messages
        self._events = events
        self._chunks = chunks

    async def load(self, feed: Feed) -> None:
        """Begin a feed where its session stands, with the replies that are being written.

        Raises OperatorError(database_unavailable).
        """
        session = await self._sessions.get(feed.session_id)
        if session is None:
            feed.start_from(0, None)
            return
        for reply in await self._messages.streaming([feed.session_id]):
            feed.show_reply(reply.reply_id, reply.begun_at)
        await self._read_texts([feed])
        feed.start_from(session.last_seq, session.user_id)
        if not feed.accepts(session.epoch):
            feed.delete()

    async def read(self, feeds: Mapping[str, Feed]) -> ReadResult:
        """Show the newer events and texts of these loaded feeds, by session.

        A feed whose session was deleted, or whose events were purged before it could show them,
        is over afterwards. Raises OperatorError(database_unavailable).
        """
        behind: dict[str, int] = {}
        newest: dict[str, int] = {}
        shown = _last_seqs(feeds.values())
        for news in await self._sessions.news(shown):
            feed = feeds[news.session_id]
            if feed.over:
                continue
            if not feed.accepts(news.epoch):
                feed.delete()
            elif news.last_seq is not None and news.last_seq < shown[news.session_id]:
                log.warning(
                    "event log ends before what clients have seen", session_id=feed.session_id
                )
                feed.invalidate()
            elif news.epoch is not None:
                behind[news.session_id] = feed.last_seq
                newest[news.session_id] = news.last_seq or 0
        complete = True
        if behind:
            page = await self._events.after_each(behind, EVENTS_A_READ)
            for session_id, rows in groupby(page.rows, attrgetter("session_id")):
                feed = feeds[session_id]
                feed.add([LiveEvent.of_row(row, feed.epoch) for row in rows])
            complete = page.last is None
            if complete:
                await self._diagnose_gap(
                    [feeds[s] for s, seq in newest.items() if feeds[s].last_seq < seq]
                )
        await self._read_texts(feeds.values())
        return ReadResult(frozenset(behind), complete)

    async def _diagnose_gap(self, stuck: list[Feed]) -> None:
        """Events that are not there: their session was deleted in this moment, or the feed slept
        through their life and cannot show them any more; its clients resume on another feed."""
        if not stuck:
            return
        feeds = {feed.session_id: feed for feed in stuck}
        for news in await self._sessions.news(_last_seqs(stuck)):
            feed = feeds[news.session_id]
            if not feed.accepts(news.epoch):
                feed.delete()
            elif not feed.over:
                log.warning("events purged before they were shown", session_id=feed.session_id)
                feed.invalidate()

    async def _read_texts(self, feeds: Iterable[Feed]) -> None:
        """Append what is stored of replies that other processes write."""
        remote = {
            reply.reply_id: feed
            for feed in feeds
            for reply in feed.replies.values()
            if not reply.local
        }
        if not remote:
            return
        ends = {reply_id: feed.replies[reply_id].stored_end for reply_id, feed in remote.items()}
        for chunk in await self._chunks.after(ends):
            # While it was read, the reply may have ended, or this process begun to write it.
            reply = remote[chunk.reply_id].replies.get(chunk.reply_id)
            if reply is not None and not reply.local and reply.stored_end == chunk.offset:
                reply.take(chunk.offset, chunk.content)
                reply.mark_stored(chunk.offset + len(chunk.content))


def _last_seqs(feeds: Iterable[Feed]) -> dict[str, int]:
    return {feed.session_id: feed.last_seq for feed in feeds}
