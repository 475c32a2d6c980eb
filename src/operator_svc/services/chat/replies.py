"""Replies for their clients: awaited, answered, shown and cancelled."""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ChatKey, ReplyStatus
from operator_svc.protocol import events as names
from operator_svc.protocol.chat import ChatAnswer, ReplyView
from operator_svc.protocol.tool_calls import ToolCallView
from operator_svc.services.access import acting_user
from operator_svc.services.chat.history import SessionHistory
from operator_svc.services.chat.reply_follower import ReplyFollower, ReplySink
from operator_svc.services.chat.running_replies import (
    Accepted,
    ReplyResult,
    RunningReplies,
    RunningReply,
)
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.live.send_queue import SendQueue
from operator_svc.stores.chat_keys import ChatKeyStore
from operator_svc.stores.message_rows import DeletedMessage
from operator_svc.stores.messages import MessageStore

RETRY_AFTER = 5.0
"""Seconds after which a client may chat again, where the upstream does not say."""
DELETE_ATTEMPTS = 5
"""Races that a deletion may lose against others that write to the same session."""
CANCEL_WAIT = 5.0
"""Seconds that a cancel waits for the reply's end before it answers with what there is."""

FAILURE_DETAILS = {
    ErrorCode.SWITCH_ERROR: "Switch returned no usable response; your message is stored",
    ErrorCode.NO_ANSWER: "the engine ended its reply without text; your message is stored",
    ErrorCode.CONTENT_FILTERED: "a filter withheld the reply; your message is stored",
    ErrorCode.REPLY_TOO_LARGE: "the reply is too large; its beginning is kept in the history",
    ErrorCode.SWITCH_UNAVAILABLE: "Switch cannot be reached; your message is stored",
    ErrorCode.SWITCH_BUSY: "Switch has too many requests; your message is stored",
    ErrorCode.SWITCH_TIMEOUT: "Switch did not answer in time; your message is stored",
    ErrorCode.REPLY_INTERRUPTED: "the reply was interrupted; what there is of it is kept",
    ErrorCode.INTERNAL_ERROR: "the reply failed inside Operator; your message is stored",
}


class Replies:
    """Replies of this pod and of others."""

    def __init__(
        self,
        running: RunningReplies,
        follower: ReplyFollower,
        history: SessionHistory,
        messages: MessageStore,
        keys: ChatKeyStore,
        hub: SessionHub,
    ) -> None:
        self._running = running
        self._follower = follower
        self._history = history
        self._messages = messages
        self._keys = keys
        self._hub = hub

    async def stored_under(self, caller: Caller, key: str) -> ChatKey | None:
        """The chat of an idempotency key of the caller's, or None."""
        return await self._keys.get(acting_user(caller, None), key)

    async def wait(self, accepted: Accepted, within: float | None = None) -> ReplyResult | None:
        """Wait for the reply's end; None where it has not come within so many seconds.

        Raises OperatorError: session_not_found where its session was deleted, and
        database_unavailable where its end cannot be stored.
        """
        if within is None:
            return await self._follower.wait(accepted)
        try:
            async with asyncio.timeout(within):
                return await self._follower.wait(accepted)
        except TimeoutError:
            return None

    async def stream(self, accepted: Accepted, send_queue: SendQueue) -> None:
        """Send a client the reply's events and text, up to its last event.

        Raises OperatorError, and ConnectionError when the client is gone.
        """
        await self._follower.stream(accepted, send_queue)

    def running(self, reply_id: int, begun_at: datetime) -> RunningReply | None:
        """The reply that began then, if this process writes it."""
        return self._running.get(reply_id, begun_at)

    async def follow(self, accepted: Accepted, sink: ReplySink) -> ReplyResult:
        """Show ``sink`` the reply up to its end. Raises as ``wait``."""
        return await self._follower.follow(accepted, sink)

    async def answer(self, accepted: Accepted, result: ReplyResult) -> ChatAnswer:
        """The answer of a chat that ended well; raises OperatorError where it did not."""
        metadata = result.metadata
        if result.status in (ReplyStatus.FAILED, ReplyStatus.INTERRUPTED):
            raise _failure(accepted, result)
        if result.status is ReplyStatus.CANCELLED:
            metadata = {**metadata, "status": "cancelled"}
        return ChatAnswer(
            session_id=accepted.session_id,
            response=result.content,
            reply=result.content,
            message_id=accepted.message_id,
            reply_id=accepted.reply_id,
            tool_calls=await self.tool_calls(accepted),
            metadata=metadata,
        )

    async def tool_calls(self, accepted: Accepted) -> list[ToolCallView]:
        """The tool calls of a reply, as many as a page holds."""
        running = accepted.running
        if running is not None and not running.tool_calls.asked:
            return []
        return await self._history.tool_calls_of(accepted.reply_id)

    async def get(self, caller: Caller, reply_id: int) -> ReplyView:
        """A reply in its current state, with its latest text if this pod writes it.

        Raises OperatorError(reply_not_found).
        """
        view = await self._history.reply(caller, reply_id)
        running = self._running.get(reply_id, view.created_at)
        if running is None or view.status != ReplyStatus.STREAMING:
            return view
        text = running.stream.text()
        return msgspec.structs.replace(view, content=text, end=len(text))

    async def cancel(self, caller: Caller, reply_id: int) -> ReplyView:
        """Stop a reply, whichever pod writes it; one that has ended stays as it is.

        Raises OperatorError(reply_not_found).
        """
        view = await self._history.reply(caller, reply_id)
        if view.status != ReplyStatus.STREAMING:
            return view
        running = self._running.get(reply_id, view.created_at)
        if running is not None:
            running.end_with(ReplyStatus.CANCELLED)
        elif await self._messages.request_cancel(reply_id) is not None:
            self._hub.notify_pods(view.session_id)
        accepted = Accepted(
            view.session_id, view.message_id or 0, reply_id, view.created_at, running
        )
        await self.wait(accepted, CANCEL_WAIT)
        return await self._history.reply(caller, reply_id)

    async def delete(self, caller: Caller, reply_id: int) -> None:
        """Delete a reply, which stops, and its message where that has no other one.

        Raises OperatorError(reply_not_found).
        """
        for _ in range(DELETE_ATTEMPTS):
            await self.cancel(caller, reply_id)
            deleted = await self._messages.delete(reply_id, caller.user_id, with_question=True)
            if deleted:
                self._publish(deleted)
                return
        raise _contended()

    async def delete_message(self, caller: Caller, message_id: int) -> None:
        """Delete a message that is there, with all replies to it; those that run stop."""
        for _ in range(DELETE_ATTEMPTS):
            deleted = await self._messages.delete(message_id, caller.user_id, with_question=False)
            if deleted:
                self._publish(deleted)
                return
        raise _contended()

    def _publish(self, deleted: list[DeletedMessage]) -> None:
        events = [
            LiveEvent(row.session_id, row.seq, names.MESSAGE_DELETED, row.ts, row.data)
            for row in deleted
        ]
        self._hub.publish(deleted[0].session_id, *events)


def _contended() -> OperatorError:
    return OperatorError(ErrorCode.CONFLICT, "too many concurrent writes to this session")


def _failure(accepted: Accepted, result: ReplyResult) -> OperatorError:
    raw = result.metadata.get("error")
    code = ErrorCode.REPLY_INTERRUPTED
    if result.status is ReplyStatus.FAILED:
        code = ErrorCode.named(raw) or ErrorCode.SWITCH_ERROR
    retry_after = None
    if code.status == 503:
        retry_after = result.metadata.get("retry_after", RETRY_AFTER)
    detail = FAILURE_DETAILS.get(code, code.summary)
    if code is ErrorCode.SWITCH_ERROR and "detail" in result.metadata:
        detail = f"{result.metadata['detail']}; your message is stored"
    return OperatorError(
        code,
        detail,
        retry_after=retry_after,
        extra=accepted.ids(),
    )
