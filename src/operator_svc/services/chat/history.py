"""What was said: a session's messages, the list of sessions, and a session's export."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_ID, Caller, Message, ReplyStatus, Session, ToolCall
from operator_svc.protocol.chat import ReplyView
from operator_svc.protocol.sessions import (
    EventList,
    EventView,
    History,
    MessageView,
    SessionList,
    SessionView,
)
from operator_svc.protocol.tool_calls import ToolCallView
from operator_svc.services.access import only_user
from operator_svc.services.live.feed import data_of
from operator_svc.services.pagination import cut, parse_time_cursor, time_cursor
from operator_svc.stores.events import EventStore
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.sessions import NEWEST, SessionStore
from operator_svc.stores.tool_calls import ToolCallStore

EXPORT_PAGE = 200
"""Messages read at once while exporting."""


class State(msgspec.Struct, frozen=True):
    """Where a session stands, with its newest messages."""

    seq: int
    epoch: str
    messages: list[MessageView]
    next_before: int | None


class Histories:
    """Reads sessions and messages, for the callers who may see them."""

    def __init__(
        self,
        sessions: SessionStore,
        messages: MessageStore,
        chunks: ReplyChunkStore,
        tool_calls: ToolCallStore,
        events: EventStore,
    ) -> None:
        self._sessions = sessions
        self._messages = messages
        self._chunks = chunks
        self._tool_calls = tool_calls
        self._events = events

    async def session(self, caller: Caller, session_id: str) -> Session:
        """The session; raises OperatorError(session_not_found)."""
        session = await self._sessions.get(session_id, caller.user_id)
        if session is None:
            raise OperatorError(ErrorCode.SESSION_NOT_FOUND, "there is no such session")
        return session

    async def page(
        self, caller: Caller, session_id: str, *, limit: int, before: int | None
    ) -> History:
        """A page of a session's messages, the newest one without ``before``."""
        session = await self.session(caller, session_id)
        views, next_before = await self._page(session_id, before or MAX_ID, limit)
        return History(
            session_id=session.session_id,
            user_id=session.user_id,
            source=session.source,
            created_at=session.created_at,
            updated_at=session.updated_at,
            message_count=session.message_count,
            messages=views,
            next_before=next_before,
        )

    async def state(self, session_id: str, limit: int) -> State | None:
        """Where a session stands. Its messages are at least as new as ``seq`` says."""
        session = await self._sessions.get(session_id)
        if session is None:
            return None
        views, next_before = await self._page(session_id, MAX_ID, limit)
        return State(session.last_seq, session.epoch, views, next_before)

    async def _page(
        self, session_id: str, before: int, limit: int
    ) -> tuple[list[MessageView], int | None]:
        page = cut(await self._messages.page(session_id, before=before, limit=limit + 1), limit)
        views = await self._views(page.rows[::-1])
        return views, page.last.id if page.last else None

    async def _views(self, rows: list[Message]) -> list[MessageView]:
        calls: dict[int, list[ToolCallView]] = {}
        for call in await self._tool_calls.of_messages([row.id for row in rows]) if rows else ():
            calls.setdefault(call.message_id, []).append(tool_call_view(call))
        written = await self._written([r.id for r in rows if r.status == ReplyStatus.STREAMING])
        return [
            MessageView(
                id=row.id,
                role=row.role,
                content=written.get(row.id, row.content),
                status=row.status,
                timestamp=row.created_at,
                metadata=row.metadata or {},
                tool_calls=calls.get(row.id, []),
                reply_to=row.reply_to,
            )
            for row in rows
        ]

    async def _written(self, reply_ids: list[int]) -> dict[int, str]:
        """What is stored by now of replies that are being written."""
        if not reply_ids:
            return {}
        parts: dict[int, list[str]] = {}
        for chunk in await self._chunks.after(dict.fromkeys(reply_ids, 0)):
            parts.setdefault(chunk.reply_id, []).append(chunk.content)
        return {reply_id: "".join(pieces) for reply_id, pieces in parts.items()}

    async def sessions(
        self,
        caller: Caller,
        *,
        user_id: str | None,
        words: str | None,
        limit: int,
        cursor: str | None,
    ) -> SessionList:
        """A page of sessions, newest first; with ``words`` those where a message has them all.

        Raises OperatorError(forbidden) where it would be those of a user that is not the caller's,
        or those of all users for one who has not the role ``operator``.
        """
        if caller.role != "operator" and caller.user_id is None and user_id is None:
            raise OperatorError(
                ErrorCode.FORBIDDEN,
                "the sessions of all users need the role operator; name a user_id",
            )
        rows = await self._sessions.page(
            user_id=only_user(caller, user_id),
            words=words,
            before=parse_time_cursor(cursor, NEWEST),
            limit=limit + 1,
        )
        page = cut(rows, limit)
        return SessionList(
            sessions=[session_view(row) for row in page.rows],
            next_cursor=time_cursor(page.last.active_at, page.last.id) if page.last else None,
        )

    async def reply(self, caller: Caller, reply_id: int) -> ReplyView:
        """A reply as it is stored by now; raises OperatorError(reply_not_found)."""
        row = await self._messages.get(reply_id, caller.user_id)
        if row is None or row.role != "assistant":
            raise OperatorError(ErrorCode.REPLY_NOT_FOUND, "there is no such reply")
        content = row.content
        if row.status == ReplyStatus.STREAMING:
            content = (await self._written([row.id])).get(row.id, "")
        return ReplyView(
            reply_id=row.id,
            message_id=row.reply_to,
            session_id=row.session_id,
            status=row.status,
            content=content,
            end=len(content),
            metadata=row.metadata or {},
            created_at=row.created_at,
            finished_at=row.finished_at,
        )

    async def tool_calls_of(self, message_id: int) -> list[ToolCallView]:
        """The tool calls of one message."""
        return [tool_call_view(c) for c in await self._tool_calls.of_messages([message_id])]

    async def events(self, caller: Caller, session_id: str, *, after: int, limit: int) -> EventList:
        """A page of a session's events after a number."""
        session = await self.session(caller, session_id)
        page = cut(await self._events.after(session_id, after, limit + 1), limit)
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
                    data=data_of(row),
                )
                for row in page.rows
            ],
            next_after=page.last.seq if page.last else None,
        )

    async def export(self, session: Session) -> AsyncIterator[bytes]:
        """The session and then each of its messages, as JSON Lines in pieces of a page."""
        yield msgspec.json.encode({"type": "session", **_plain(session_view(session))}) + b"\n"
        after = 0
        while rows := await self._messages.page_after(
            session.session_id, after=after, limit=EXPORT_PAGE
        ):
            after = rows[-1].id
            views = await self._views(rows)
            yield b"".join(
                msgspec.json.encode({"type": "message", **_plain(view)}) + b"\n" for view in views
            )


def _plain(view: msgspec.Struct) -> dict[str, object]:
    return {name: getattr(view, name) for name in view.__struct_fields__}


def tool_call_view(call: ToolCall) -> ToolCallView:
    """A tool call as clients see it."""
    return ToolCallView(
        id=call.id,
        message_id=call.message_id,
        tool_name=call.tool_name,
        status=call.status,
        duration_ms=call.duration_ms,
        arguments=call.arguments,
        result=call.result,
        error=call.error,
        created_at=call.created_at,
        finished_at=call.finished_at,
    )


def session_view(session: Session) -> SessionView:
    """A session as the list shows it."""
    return SessionView(
        session_id=session.session_id,
        user_id=session.user_id,
        source=session.source,
        created_at=session.created_at,
        updated_at=session.updated_at,
        message_count=session.message_count,
        metadata=session.metadata or {},
    )
