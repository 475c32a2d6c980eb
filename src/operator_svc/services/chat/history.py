"""The history of a session: its messages, replies and events, in pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_ID, Caller, Message, ReplyStatus, Session, ToolCall
from operator_svc.protocol.chat import ReplyView
from operator_svc.protocol.frames import SessionState
from operator_svc.protocol.sessions import EventList, EventView, History, MessageView
from operator_svc.protocol.tool_calls import ToolCallView
from operator_svc.protocol.views import view_of
from operator_svc.services.access import no_session
from operator_svc.services.chat.sessions import Sessions
from operator_svc.services.live.events import event_data
from operator_svc.services.live.subscriptions import SessionSnapshot
from operator_svc.services.pagination import id_cursor
from operator_svc.stores.events import EventStore
from operator_svc.stores.message_rows import ListedMessage
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.pages import PAGE_BYTES, Page
from operator_svc.stores.read_sources import ReadSource, ReadSources
from operator_svc.stores.reply_chunks import ReplyChunkStore

T = TypeVar("T")

TOOL_CALLS_READ = 1000
"""Tool calls read at once for the messages of a page."""
READ_AT_ONCE = 50
"""Messages read at once where all of a session are asked for."""
READERS = 8
"""Pages of messages that are read at once: each holds what it has read so far until its end."""


class SessionHistory:
    """Reads what is stored of sessions, for the callers who may see them."""

    def __init__(
        self,
        sessions: Sessions,
        sources: ReadSources,
        messages: MessageStore,
        chunks: ReplyChunkStore,
        events: EventStore,
    ) -> None:
        self._sessions = sessions
        self._sources = sources
        self._messages = messages
        self._chunks = chunks
        self._events = events
        self._reading = asyncio.Semaphore(READERS)

    async def page(
        self, caller: Caller, session_id: str, *, limit: int, before: int | None
    ) -> History:
        """A page of a session's messages, the newest one without ``before``."""
        session = await self._sessions.get(caller, session_id)
        read = partial(
            self._page,
            session_id=session_id,
            before=before or MAX_ID,
            limit=limit,
            size=PAGE_BYTES,
        )
        views, next_before = await self._of_session(session, read)
        return view_of(History, session, messages=views, next_before=next_before)

    async def snapshot(self, session_id: str, limit: int, size: int) -> SessionSnapshot | None:
        """See SnapshotSource: where a session stands, with its newest messages. The text of a
        reply that is being written comes by its deltas, from the first one where the reply has
        begun since the session was read: here it would be in their way."""
        session = await self._sessions.find(session_id)
        if session is None:
            return None
        # Read after the session: the messages are at least as new as its number says.
        async with self._reading:
            views, next_before = await self._page(
                self._sources.primary,
                session_id=session_id,
                before=MAX_ID,
                limit=limit,
                size=size,
            )
        views = [
            msgspec.structs.replace(view, content="") if view.status == "streaming" else view
            for view in views
        ]
        fitting = _fitting_as_json(views, size)
        if len(fitting) < len(views):
            next_before = fitting[0].id if fitting else views[-1].id + 1
        return SessionSnapshot(session.last_seq, session.epoch, SessionState(fitting, next_before))

    async def oldest_first(
        self, caller: Caller, session_id: str, after: int
    ) -> AsyncIterator[MessageView]:
        """The messages of a session after one, each with as many of its tool calls as a page holds.

        Calls that do not fit beside their messages are read as each is asked for: those of many
        together have no bound. Raises OperatorError(session_not_found).
        """
        session = await self._sessions.get(caller, session_id)
        place: int | None = after
        while place is not None:
            views, whole, place = await self.page_after(
                session, place, limit=READ_AT_ONCE, size=PAGE_BYTES
            )
            for view in views:
                if whole:
                    yield view
                else:
                    calls = await self.tool_calls_of(view.id)
                    yield msgspec.structs.replace(view, tool_calls=calls)

    async def _of_session(self, session: Session, read: Callable[[ReadSource], Awaitable[T]]) -> T:
        async with self._reading:
            return await self._sources.of_session(session, read)

    async def _page(
        self, source: ReadSource, *, session_id: str, before: int, limit: int, size: int
    ) -> tuple[list[MessageView], int | None]:
        page = await source.messages.page(session_id, before=before, limit=limit, size=size)
        if not page.rows:
            return [], None
        calls = await _calls(source, page, size)
        views = await self._views(source, page.rows[::-1], calls.rows)
        if calls.rows:
            views = _with_whole_calls(views, calls.last, size)
        if len(views) < len(page.rows):
            return views, views[0].id
        return views, page.last.id if page.last else None

    async def _views(
        self, source: ReadSource, rows: Sequence[Message | ListedMessage], calls: Iterable[ToolCall]
    ) -> list[MessageView]:
        of_message: dict[int, list[ToolCallView]] = {}
        for call in calls:
            of_message.setdefault(call.message_id, []).append(tool_call_view(call))
        running = [row.id for row in rows if row.status == ReplyStatus.STREAMING]
        if running:
            source.needs_primary("running")  # what was shown of their texts, no event tells
        written = await self._written(running)
        return [
            MessageView(
                id=row.id,
                role=row.role,
                content=written.get(row.id, row.content),
                status=row.status,
                timestamp=row.created_at,
                metadata=row.metadata or {},
                tool_calls=of_message.get(row.id, []),
                reply_to=row.reply_to,
            )
            for row in rows
        ]

    async def _written(self, reply_ids: list[int]) -> dict[int, str]:
        """The stored text of replies that are being written."""
        if not reply_ids:
            return {}
        parts: dict[int, list[str]] = {}
        for chunk in await self._chunks.after(dict.fromkeys(reply_ids, 0)):
            parts.setdefault(chunk.reply_id, []).append(chunk.content)
        return {reply_id: "".join(pieces) for reply_id, pieces in parts.items()}

    async def reply(self, caller: Caller, reply_id: int) -> ReplyView:
        """A reply as it is stored by now; raises OperatorError(reply_not_found)."""
        row = await self._messages.get(reply_id, caller.user_id)
        if row is None or row.role != "assistant":
            raise OperatorError(ErrorCode.REPLY_NOT_FOUND, "there is no such reply")
        content = row.content
        if row.status == ReplyStatus.STREAMING:
            content = (await self._written([row.id])).get(row.id, "")
        return view_of(
            ReplyView,
            row,
            reply_id=row.id,
            message_id=row.reply_to,
            content=content,
            end=len(content),
            metadata=row.metadata or {},
        )

    async def stored(self, caller: Caller, message_id: int) -> Message:
        """A message or reply as it is stored; raises OperatorError(message_not_found)."""
        row = await self._messages.get(message_id, caller.user_id)
        if row is None:
            raise OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")
        return row

    async def message(self, caller: Caller, message_id: int) -> MessageView:
        """A message that is no reply; raises OperatorError(message_not_found)."""
        row = await self._messages.get(message_id, caller.user_id)
        if row is None or row.reply_to is not None:
            raise OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")
        (view,) = await self._views(self._sources.primary, [row], ())
        return view

    async def tool_calls_of(self, message_id: int) -> list[ToolCallView]:
        """The tool calls of one message, as many as a page holds."""
        source = self._sources.primary
        async with self._reading:
            page = await source.tool_calls.of_messages([message_id], limit=TOOL_CALLS_READ)
        return [tool_call_view(call) for call in page.rows]

    async def events(self, caller: Caller, session_id: str, *, after: int, limit: int) -> EventList:
        """A page of a session's events after a number."""
        session = await self._sessions.get(caller, session_id)
        page = await self._events.after(session_id, after, limit)
        return EventList(
            session_id=session_id,
            epoch=session.epoch,
            seq=session.last_seq,
            events=[
                EventView(
                    seq=row.seq,
                    event=row.event,
                    session_id=row.session_id,
                    ts=row.ts,
                    data=event_data(row, session.epoch),
                )
                for row in page.rows
            ],
            next_after=page.last.seq if page.last else None,
        )

    async def page_after(
        self, session: Session, after: int, *, limit: int, size: int
    ) -> tuple[list[MessageView], bool, int | None]:
        """Messages after one, oldest first, whether all their tool calls are with them (else
        none), and where to go on."""
        read = partial(
            self._page_after, session_id=session.session_id, after=after, limit=limit, size=size
        )
        return await self._of_session(session, read)

    async def _page_after(
        self, source: ReadSource, *, session_id: str, after: int, limit: int, size: int
    ) -> tuple[list[MessageView], bool, int | None]:
        page = await source.messages.page_after(session_id, after=after, limit=limit, size=size)
        calls = await _calls(source, page, size)
        whole = calls.last is None
        views = await self._views(source, page.rows, calls.rows if whole else ())
        return views, whole, page.last.id if page.last else None

    async def check_there(self, session: Session) -> None:
        """Raise OperatorError(session_not_found) where the session was deleted since it was read;
        another one may have its id by now."""
        now = await self._sessions.find(session.session_id)
        if now is None or now.id != session.id:
            raise no_session()

    async def tool_calls_after(
        self, message_id: int, after: int, size: int
    ) -> tuple[list[ToolCallView], int | None]:
        """Tool calls of one message after one of them, and where to go on."""
        async with self._reading:
            page = await self._sources.primary.tool_calls.page(
                message_id, after=after, limit=TOOL_CALLS_READ, size=size
            )
        return [tool_call_view(call) for call in page.rows], page.last.id if page.last else None


async def _calls(source: ReadSource, page: Page[ListedMessage], size: int) -> Page[ToolCall]:
    ids = [row.id for row in page.rows]
    return await source.tool_calls.of_messages(ids, limit=TOOL_CALLS_READ, size=size)


def _with_whole_calls(
    views: list[MessageView], last_call: ToolCall | None, size: int
) -> list[MessageView]:
    """The newest of ``views``, as many as have ``size`` bytes as JSON with all their tool calls;
    the newest one at least. ``last_call`` is the last that was read, where there are more: whether
    its message and older ones have some is not known."""
    newest = views[-1]
    if last_call is not None:
        if last_call.message_id == newest.id:
            return [msgspec.structs.replace(newest, tool_calls_next=id_cursor(last_call.id))]
        views = [view for view in views if view.id > last_call.message_id]
    return _fitting_as_json(views, size) or [newest]


def _fitting_as_json(views: list[MessageView], size: int) -> list[MessageView]:
    """The newest of ``views``, as many as have ``size`` bytes as JSON; none where that one has
    more."""
    for index in range(len(views) - 1, -1, -1):
        size -= len(msgspec.json.encode(views[index])) + 1
        if size < 0:
            return views[index + 1 :]
    return views


def tool_call_view(call: ToolCall) -> ToolCallView:
    """A tool call as clients see it."""
    return view_of(ToolCallView, call)
