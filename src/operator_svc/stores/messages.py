"""operator_message: messages, and replies while they are being written."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import msgspec

from operator_svc.db import Database
from operator_svc.models import Json, Message, ReplyStatus
from operator_svc.protocol import events
from operator_svc.stores.chat_keys import write_keyed
from operator_svc.stores.epochs import with_epoch
from operator_svc.stores.message_reads import MessageReads, are_cut
from operator_svc.stores.message_rows import (
    DeletedMessage,
    Ended,
    Feedback,
    Key,
    Owned,
    Recent,
    Started,
    Streaming,
    TokenUsage,
)
from operator_svc.stores.sessions import refuse_id_in_deletion
from operator_svc.stores.writes import RecordId, columns_of, write_one


class MessageStore(MessageReads):
    """Reads messages, and writes a chat's two units: its start, and the end of its reply."""

    _db: Database

    def __init__(self, db: Database) -> None:
        super().__init__(db)

    async def get(self, message_id: int, viewer: str | None = None) -> Message | None:
        """The message, or None where there is none that ``viewer`` may see (None sees all)."""
        return await self._db.fetch_one(
            "message_get", Message, message_id=message_id, viewer=viewer
        )

    async def start(
        self,
        *,
        session_id: str,
        viewer: str | None,
        content: str,
        metadata: Json,
        pod_id: str,
        key: Key | None,
        exchanges: int,
        max_chars: int,
        recent: Recent | None = None,
    ) -> Started | None:
        """Store a user's message and the reply to it; None where there is no such session.

        The session's last ``exchanges`` come with it, as ``exchanges()`` reads them: ``recent`` if
        these still are the last ones. ``NOT_READ`` where they have to be read afterwards, since
        others wrote at the same moment, and cannot be. Raises KeyTakenError.
        """
        started = await self._begin(
            "chat_start",
            key,
            session_id=session_id,
            viewer=viewer,
            content=content,
            metadata=metadata,
            pod_id=pod_id,
            exchanges=exchanges,
            max_chars=max_chars,
            recent_seq=recent and recent.last_seq,
        )
        if started is None or exchanges == 0:
            return started
        if started.exchanges is not None and not are_cut(started.exchanges, exchanges):
            return started
        if recent is not None and recent.are_before(started):
            return msgspec.structs.replace(started, exchanges=recent.exchanges)
        found = await self.exchanges_of_begun(
            session_id, before=started.message_id, limit=exchanges, max_chars=max_chars
        )
        return msgspec.structs.replace(started, exchanges=found)

    async def start_new(
        self,
        *,
        session_id: str,
        epoch: str,
        user_id: str,
        source: str,
        content: str,
        metadata: Json,
        pod_id: str,
        key: Key | None,
    ) -> Started | None:
        """Store a chat in a new session; None where there is one of this id already.

        Raises KeyTakenError, and OperatorError(conflict) while one of this id is being deleted.
        """
        started = await self._begin(
            "chat_start_new",
            key,
            session_id=session_id,
            epoch=epoch,
            user_id=user_id,
            source=source,
            created=events.session_created(session_id, user_id, source),
            content=content,
            metadata=metadata,
            pod_id=pod_id,
        )
        if started is None:
            await refuse_id_in_deletion(self._db, session_id)
        return started

    async def regenerate(
        self,
        *,
        session_id: str,
        viewer: str | None,
        message_id: int,
        pod_id: str,
        key: Key | None,
    ) -> Started | None:
        """Begin one more reply to a user's message; None where there is no such message."""
        return await self._begin(
            "chat_regenerate",
            key,
            session_id=session_id,
            viewer=viewer,
            message_id=message_id,
            pod_id=pod_id,
        )

    async def retry(
        self, *, session_id: str, message_id: int, failed_reply_id: int, pod_id: str, key: Key
    ) -> Started | None:
        """Begin a new reply in place of a failed one; None where somebody else did so first."""
        started = await write_one(
            self._db,
            "chat_retry",
            Started,
            session_id=session_id,
            message_id=message_id,
            failed_reply_id=failed_reply_id,
            pod_id=pod_id,
            scope=key.scope,
            key=key.key,
        )
        return started and with_epoch(self._db, started)

    async def _begin(self, query: str, key: Key | None, **params: Any) -> Started | None:
        async def write(columns: dict[str, Any]) -> Started | None:
            return await write_one(self._db, query, Started, **params, **columns)

        started = await write_keyed(self._db, key, write)
        return started and with_epoch(self._db, started)

    async def finish(
        self,
        *,
        session_id: str,
        reply_id: int,
        begun_at: datetime,
        pod_id: str,
        status: ReplyStatus,
        content: str,
        metadata: Json,
        feedback: Feedback | None,
        usage: TokenUsage | None = None,
        chunked: bool = True,
    ) -> Ended | None:
        """Store a reply's whole text and last state; None where this pod does not own it, or the
        reply of this id is another one, that began at another moment.

        ``chunked`` says that some of its text may have been stored before.
        """
        return await write_one(
            self._db,
            "reply_finish",
            Ended,
            session_id=session_id,
            reply_id=reply_id,
            begun_at=begun_at,
            pod_id=pod_id,
            status=str(status),
            content=content,
            metadata=metadata,
            event=last_event(status),
            chunked=True if chunked else None,
            **columns_of(Feedback, feedback),
            **columns_of(TokenUsage, usage),
        )

    async def interrupt(self, reply: Streaming, metadata: Json) -> Ended | None:
        """End a reply that its owner abandoned, with its stored text; None if it ended already.

        The owner is shut out first, and by a write of its own: the second one sees all that the
        owner has stored until then. A crash in between leaves a reply without a living owner.
        """
        fence = uuid.uuid4().hex
        fenced = await write_one(
            self._db,
            "reply_fence",
            RecordId,
            reply_id=reply.reply_id,
            owner=reply.owner,
            fence=fence,
        )
        if fenced is None:
            return None
        return await write_one(
            self._db,
            "reply_interrupt",
            Ended,
            session_id=reply.session_id,
            reply_id=reply.reply_id,
            owner=fence,
            metadata=metadata,
        )

    async def delete(
        self, message_id: int, viewer: str | None, *, with_question: bool
    ) -> list[DeletedMessage]:
        """Delete a message with all replies to it, and ``with_question`` the one that it alone
        replies to; the events that say so. None where there is no such message, and where others
        wrote to its session at this moment."""
        deleted = await self._db.write(
            "message_delete",
            DeletedMessage,
            message_id=message_id,
            viewer=viewer,
            with_question=with_question,
        )
        return sorted(deleted, key=lambda event: event.seq)

    async def request_cancel(self, reply_id: int) -> Streaming | None:
        """Ask the pod that writes a reply to stop; None where it is not being written."""
        return await write_one(self._db, "reply_request_cancel", Streaming, reply_id=reply_id)

    async def attend(self, reply_id: int, attempt: str) -> bool:
        """Name a call that waits for a reply, which has it unless a call of a later attempt has;
        False where the reply has ended or is to."""
        params = {"reply_id": reply_id, "attempt": attempt}
        return await write_one(self._db, "reply_attend", RecordId, **params) is not None

    async def leave(self, reply_id: int, attempt: str) -> bool:
        """Ask that a reply stops whose caller has left; False where it has ended, or a later call
        than ``attempt`` waits for it."""
        params = {"reply_id": reply_id, "attempt": attempt}
        return await write_one(self._db, "reply_leave", RecordId, **params) is not None

    async def of_pod(self, pod_id: str) -> list[Owned]:
        """The replies that a pod owns."""
        return await self._db.fetch("replies_of_pod", Owned, pod_id=pod_id)

    async def unowned(self, pod_id: str, *, judge: bool = True) -> list[Streaming]:
        """Replies whose pod is not on the list any more, those of ``pod_id`` itself, and with
        ``judge`` those whose pod has a lease that has run out."""
        return await self._db.fetch("replies_unowned", Streaming, pod_id=pod_id, judge=judge)

    async def streaming(self, session_ids: list[str]) -> list[Streaming]:
        """The replies that are being written in these sessions."""
        return await self._db.fetch("replies_streaming", Streaming, session_ids=session_ids)


def last_event(status: ReplyStatus) -> str:
    """The name of the event that says that a reply ended so."""
    return "reply.completed" if status is ReplyStatus.COMPLETE else f"reply.{status}"
