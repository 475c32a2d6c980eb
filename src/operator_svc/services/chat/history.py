"""The history of a session: its messages, replies and events, in pages or as an export."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_ID, Caller, Message, ReplyStatus, Session, ToolCall
from operator_svc.protocol.chat import ReplyView
from operator_svc.protocol.frames import SessionState
from operator_svc.protocol.sessions import (
    EventList,
    EventView,
    History,
    MessageView,
)
from operator_svc.protocol.tool_calls import ToolCallView
from operator_svc.services.chat.sessions import Sessions, session_view
from operator_svc.services.live.events import event_data
from operator_svc.services.live.subscriptions import SessionSnapshot
from operator_svc.services.pagination import cut
from operator_svc.stores.events import EventStore
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.reply_chunks import ReplyChunkStore
from operator_svc.stores.tool_calls import ToolCallStore

EXPORT_PAGE = 200
"""Messages read at once while exporting."""


class SessionHistory:
    """Reads what is stored of sessions, for the callers who may see them."""

    def __init__(
        self,
        sessions: Sessions,
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

    async def page(
        self, caller: Caller, session_id: str, *, limit: int, before: int | None
    ) -> History:
        """A page of a session's messages, the newest one without ``before``."""
        session = await self._sessions.get(caller, session_id)
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

    async def snapshot(self, session_id: str, limit: int) -> SessionSnapshot | None:
        """See SnapshotSource: where a session stands, with its newest messages."""
        session = await self._sessions.find(session_id)
        if session is None:
            return None
        # Read after the session: the messages are at least as new as its number says.
        views, next_before = await self._page(session_id, MAX_ID, limit)
        return SessionSnapshot(session.last_seq, session.epoch, SessionState(views, next_before))

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
        session = await self._sessions.get(caller, session_id)
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
                    data=event_data(row, session.epoch),
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
