"""Chats: a message is kept, a reply begun, and whoever asked may wait for its end."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import structlog

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ChatKey, Message, ReplyStatus
from operator_svc.peers.chat_types import Prompt
from operator_svc.protocol import events as names
from operator_svc.protocol.chat import Chat, ChatAnswer, ReplyView
from operator_svc.services.access import acting_user
from operator_svc.services.chat.history import Histories
from operator_svc.services.chat.reply_writer import Outcome, ReplyWriter, RunningReply
from operator_svc.services.drain import DrainState
from operator_svc.services.lease import PodIdentity
from operator_svc.services.live.feed import LiveEvent
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.rate_limit import RateLimit
from operator_svc.stores.chat_keys import ChatKeyStore
from operator_svc.stores.messages import Key, KeyTakenError, MessageStore, Started
from operator_svc.stores.sessions import SessionStore

log = structlog.get_logger(__name__)

CANCEL_WAIT = 5.0
"""Seconds that a cancel waits for the reply's end before it answers with what there is."""
START_ATTEMPTS = 4
"""Races that a start may lose against others that make or delete the same session."""
RECHECK = 1.0
"""Seconds after which one who waits for a reply of another pod looks at the database itself."""


class Accepted:
    """A chat that is kept. ``running`` is its reply, if this process writes it."""

    __slots__ = ("events", "message_id", "new", "reply_id", "running", "session_id")

    def __init__(
        self,
        session_id: str,
        message_id: int,
        reply_id: int,
        running: RunningReply | None,
        events: tuple[LiveEvent, ...] = (),
        *,
        new: bool = False,
    ) -> None:
        self.session_id = session_id
        self.message_id = message_id
        self.reply_id = reply_id
        self.running = running
        self.events = events
        self.new = new


class Chats:
    """Starts chats, waits for replies, cancels them, and deletes sessions."""

    def __init__(
        self,
        sessions: SessionStore,
        messages: MessageStore,
        keys: ChatKeyStore,
        histories: Histories,
        reply_writer: ReplyWriter,
        hub: SessionHub,
        lease: PodIdentity,
        drain: DrainState,
        *,
        history_messages: int,
        history_chars: int,
        chat_rate: int,
    ) -> None:
        self._sessions = sessions
        self._messages = messages
        self._keys = keys
        self._histories = histories
        self._reply_writer = reply_writer
        self._hub = hub
        self._lease = lease
        self._drain = drain
        self._history_messages = history_messages
        self._history_chars = history_chars
        self.rate = RateLimit(chat_rate, 60.0, "chats of one session")

    # Starting.

    async def start(self, caller: Caller, chat: Chat) -> Accepted:
        """Keep a message and begin its reply, or find the one that its key stands for.

        Raises OperatorError: draining, rate_limited, forbidden, conflict, message_not_found,
        session_not_found, database_unavailable.
        """
        self._drain.refuse_new()
        user_id = acting_user(caller, chat.user_id)
        if chat.session_id is not None:
            self.rate.take(chat.session_id)
        key = None
        if chat.client_message_id is not None:
            key = Key(user_id, chat.client_message_id, chat.body_hash())
        try:
            if chat.regenerate is not None:
                return await self._regenerate(caller, chat, chat.regenerate, user_id, key)
            return await self._start(caller, chat, user_id, key)
        except KeyTakenError:
            assert key is not None
            return await self._again(caller, chat, user_id, key)

    async def _start(self, caller: Caller, chat: Chat, user_id: str, key: Key | None) -> Accepted:
        common: dict[str, Any] = {
            "content": chat.message,
            "metadata": _message_metadata(chat),
            "pod_id": self._lease.pod_id,
            "key": key,
        }
        new = chat.session_id is None or self._hub.awaited(chat.session_id)
        for _ in range(START_ATTEMPTS):
            if not new and chat.session_id is not None:
                started = await self._messages.start(
                    session_id=chat.session_id,
                    viewer=caller.user_id,
                    turns=self._history_messages if chat.history is None else 0,
                    turn_chars=self._history_chars,
                    **common,
                )
                if started is not None:
                    return self._run(chat, chat.session_id, user_id, started)
            session_id = chat.session_id or uuid.uuid4().hex
            started = await self._messages.start_new(
                session_id=session_id,
                epoch=str(uuid.uuid4()),
                user_id=user_id,
                source=chat.source,
                **common,
            )
            if started is not None:
                return self._run(chat, session_id, user_id, started, new=True)
            new = False
        raise OperatorError(ErrorCode.SESSION_NOT_FOUND, "there is no such session")

    async def _regenerate(
        self, caller: Caller, chat: Chat, message_id: int, user_id: str, key: Key | None
    ) -> Accepted:
        message = await self._messages.get(message_id, caller.user_id)
        if message is not None and message.role != "user" and message.reply_to is not None:
            message = await self._messages.get(message.reply_to, caller.user_id)
        if message is None or message.role != "user":
            raise OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")
        if chat.session_id not in (None, message.session_id):
            raise OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")
        started = await self._messages.regenerate(
            session_id=message.session_id,
            viewer=caller.user_id,
            message_id=message.id,
            pod_id=self._lease.pod_id,
            key=key,
        )
        if started is None:
            raise OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")
        return self._run_again(chat, user_id, message, started)

    async def _again(self, caller: Caller, chat: Chat, user_id: str, key: Key) -> Accepted:
        """What the key stands for: a reply to be returned, attached to, or tried anew."""
        for _ in range(START_ATTEMPTS):
            known = await self._keys.get(key.scope, key.key)
            if known is None:  # deleted with its session a moment ago
                return await self._start(caller, chat, user_id, key)
            reply = await self._messages.get(known.reply_id, caller.user_id)
            message = await self._messages.get(known.message_id, caller.user_id)
            if reply is None or message is None:
                if caller.user_id is not None:  # it may stand for another user's session
                    raise OperatorError(ErrorCode.SESSION_NOT_FOUND, "there is no such session")
                continue
            _check_same(chat, key, known)
            if reply.status not in (ReplyStatus.FAILED, ReplyStatus.INTERRUPTED):
                running = self._reply_writer.get(reply.id)
                return Accepted(reply.session_id, message.id, reply.id, running)
            started = await self._messages.retry(
                session_id=known.session_id,
                message_id=known.message_id,
                failed_reply_id=known.reply_id,
                pod_id=self._lease.pod_id,
                key=key,
            )
            if started is not None:
                return self._run_again(chat, user_id, message, started)
        raise OperatorError(ErrorCode.CONFLICT, "the key is used by too many at once")

    def _run_again(self, chat: Chat, user_id: str, message: Message, started: Started) -> Accepted:
        """A new reply to a message that is there already."""
        return self._run(chat, message.session_id, user_id, started, question=message.content)

    def _run(
        self,
        chat: Chat,
        session_id: str,
        user_id: str,
        started: Started,
        *,
        new: bool = False,
        question: str | None = None,
    ) -> Accepted:
        """Nothing is awaited from the commit's answer to the task's start."""
        again = question is not None
        (telemetry.CHATS_AGAIN if again else telemetry.CHATS_NEW).inc()

        async def prepare() -> Prompt:
            return Prompt(
                message=chat.message if question is None else question,
                session_id=session_id,
                user_id=user_id,
                history=await self._history(chat, session_id, started, new=new),
                context_summary=chat.context_summary,
                provider_hint=chat.provider_hint,
                metadata=chat.metadata,
            )

        running = self._reply_writer.run(session_id, started, prepare)
        events = _start_events(session_id, user_id, chat, started, new=new, again=again)
        if new:
            self._hub.created(session_id, started.epoch)
        self._hub.publish(session_id, *events)
        return Accepted(session_id, started.message_id, started.reply_id, running, events, new=True)

    async def _history(
        self, chat: Chat, session_id: str, started: Started, *, new: bool
    ) -> list[dict[str, str]]:
        """Earlier messages as far as they fit: the client's own where it brought some."""
        if chat.history is not None:
            return self._bounded([_turn(t.role, t.content) for t in reversed(chat.history)])
        if new or not self._history_messages or not self._history_chars:
            return []
        if started.said is not None:
            return self._bounded(started.said)
        rows = await self._messages.page(
            session_id, before=started.message_id, limit=self._history_messages
        )
        return self._bounded(
            [_turn(row.role, row.content) for row in rows if row.content and row.status in _SAID]
        )

    def _bounded(self, newest_first: list[dict[str, str]]) -> list[dict[str, str]]:
        kept = newest_first[: self._history_messages]
        length = 0
        for place, turn in enumerate(kept):
            length += len(turn["content"])
            if length > self._history_chars:
                del kept[place:]
                break
        kept.reverse()
        return kept

    # Waiting.

    async def wait(self, accepted: Accepted, within: float | None = None) -> Outcome | None:
        """How the reply ended; None where it has not within so many seconds.

        Raises OperatorError(database_unavailable) where its end cannot be stored.
        """
        if within is None:
            return await self._wait(accepted)
        try:
            async with asyncio.timeout(within):
                return await self._wait(accepted)
        except TimeoutError:
            return None

    async def _wait(self, accepted: Accepted) -> Outcome:
        if accepted.running is not None:
            outcome = await asyncio.shield(accepted.running.done)
            if outcome is not None:
                return outcome
        return await self._wait_elsewhere(accepted.session_id, accepted.reply_id)

    async def _wait_elsewhere(self, session_id: str, reply_id: int) -> Outcome:
        """Wait for a reply that another pod writes: for its news, and by looking now and then."""
        ended = asyncio.Event()
        feed = await self._hub.open_feed(session_id)
        waiter = _EndWaiter(reply_id, ended)
        feed.listeners.add(waiter)
        try:
            while True:
                reply = await self._messages.get(reply_id)
                if reply is None:
                    raise OperatorError(ErrorCode.SESSION_NOT_FOUND, "the session was deleted")
                if reply.status != ReplyStatus.STREAMING:
                    return Outcome(ReplyStatus(reply.status), reply.content, reply.metadata or {})
                try:
                    async with asyncio.timeout(RECHECK):
                        await ended.wait()
                        ended.clear()
                except TimeoutError:
                    continue
        finally:
            feed.listeners.discard(waiter)
            self._hub.release(feed)

    async def answer(self, accepted: Accepted, outcome: Outcome) -> ChatAnswer:
        """The answer of a chat that ended well; raises OperatorError where it did not."""
        metadata = outcome.metadata
        if outcome.status in (ReplyStatus.FAILED, ReplyStatus.INTERRUPTED):
            raise _failure(accepted, outcome)
        if outcome.status is ReplyStatus.CANCELLED:
            metadata = {**metadata, "status": "cancelled"}
        return ChatAnswer(
            session_id=accepted.session_id,
            response=outcome.content,
            reply=outcome.content,
            message_id=accepted.message_id,
            reply_id=accepted.reply_id,
            tool_calls=await self._tool_calls(accepted),
            metadata=metadata,
        )

    async def _tool_calls(self, accepted: Accepted) -> list[Any]:
        running = accepted.running
        if running is not None and not running.called_tools:
            return []
        return list(await self._histories.tool_calls_of(accepted.reply_id))

    # Replies and sessions.

    async def reply(self, caller: Caller, reply_id: int) -> ReplyView:
        """A reply as it stands, with the text of this very moment where this pod writes it."""
        view = await self._histories.reply(caller, reply_id)
        running = self._reply_writer.get(reply_id)
        if running is None or view.status != ReplyStatus.STREAMING:
            return view
        text = running.stream.text()
        return ReplyView(
            reply_id=view.reply_id,
            message_id=view.message_id,
            session_id=view.session_id,
            status=view.status,
            content=text,
            end=len(text),
            metadata=view.metadata,
            created_at=view.created_at,
            finished_at=view.finished_at,
        )

    async def cancel(self, caller: Caller, reply_id: int) -> ReplyView:
        """Stop a reply, whichever pod writes it; one that has ended stays as it is."""
        view = await self._histories.reply(caller, reply_id)
        if view.status != ReplyStatus.STREAMING:
            return view
        running = self._reply_writer.get(reply_id)
        if running is not None:
            self._reply_writer.cancel(running, ReplyStatus.CANCELLED)
        elif await self._messages.request_cancel(reply_id) is not None:
            self._hub.notify_pods(view.session_id)
        accepted = Accepted(view.session_id, view.message_id or 0, reply_id, running)
        await self.wait(accepted, CANCEL_WAIT)
        return await self._histories.reply(caller, reply_id)

    async def delete(self, caller: Caller, session_id: str) -> None:
        """Delete a session and all that belongs to it; its running replies stop.

        Raises OperatorError(session_not_found).
        """
        deleted = await self._sessions.delete(session_id, caller.user_id)
        if deleted is None:
            raise OperatorError(ErrorCode.SESSION_NOT_FOUND, "there is no such session")
        self._reply_writer.lose_session(session_id)
        self._hub.deleted(session_id)


class _EndWaiter:
    """Is told of a reply's last event."""

    __slots__ = ("_ended", "_reply_id")

    def __init__(self, reply_id: int, ended: asyncio.Event) -> None:
        self._reply_id = reply_id
        self._ended = ended

    def __call__(self, event: LiveEvent | None) -> None:
        if event is None or (
            event.event in names.REPLY_ENDINGS and event.data["reply_id"] == self._reply_id
        ):
            self._ended.set()


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _message_metadata(chat: Chat) -> dict[str, Any]:
    metadata = dict(chat.metadata)
    if chat.client_message_id is not None:
        metadata["client_message_id"] = chat.client_message_id
    return metadata


def _start_events(
    session_id: str, user_id: str, chat: Chat, started: Started, *, new: bool, again: bool
) -> tuple[LiveEvent, ...]:
    """The events that the start has stored, as replaying would show them."""
    seq, ts = started.last_seq, started.ts
    events: list[LiveEvent] = []
    if new:
        created = {"session_id": session_id, "user_id": user_id, "source": chat.source}
        events.append(LiveEvent.make(session_id, seq - 2, names.SESSION_CREATED, ts, created))
    if not again:
        message = names.message_created(
            started.message_id, "user", chat.message, _message_metadata(chat), ts
        )
        events.append(LiveEvent.make(session_id, seq - 1, names.MESSAGE_CREATED, ts, message))
    reply = names.reply_started(started.reply_id, started.message_id)
    events.append(LiveEvent.make(session_id, seq, names.REPLY_STARTED, ts, reply))
    return tuple(events)


def _check_same(chat: Chat, key: Key, known: ChatKey) -> None:
    if known.body_hash != key.body_hash or chat.session_id not in (None, known.session_id):
        raise OperatorError(ErrorCode.CONFLICT, "this idempotency key was used for another request")


def _failure(accepted: Accepted, outcome: Outcome) -> OperatorError:
    raw = outcome.metadata.get("error")
    code = ErrorCode.REPLY_INTERRUPTED
    if outcome.status is ReplyStatus.FAILED:
        code = ErrorCode.named(raw) or ErrorCode.SWITCH_ERROR
    return OperatorError(
        code,
        FAILURE_DETAILS.get(code, code.summary),
        retry_after=5.0 if code.status == 503 else None,
        extra={
            "session_id": accepted.session_id,
            "message_id": accepted.message_id,
            "reply_id": accepted.reply_id,
        },
    )


_SAID = frozenset({ReplyStatus.COMPLETE, ReplyStatus.CANCELLED, ReplyStatus.INTERRUPTED})
"""The states of messages that are worth telling Switch of."""

FAILURE_DETAILS = {
    ErrorCode.SWITCH_ERROR: "Switch gave no usable answer; your message is kept",
    ErrorCode.REPLY_TOO_LARGE: "the reply is too large; its beginning is kept in the history",
    ErrorCode.SWITCH_UNAVAILABLE: "Switch cannot be reached; your message is kept",
    ErrorCode.SWITCH_TIMEOUT: "Switch did not answer in time; your message is kept",
    ErrorCode.REPLY_INTERRUPTED: "the reply was interrupted; what there is of it is kept",
    ErrorCode.INTERNAL_ERROR: "the reply failed inside Operator; your message is kept",
}
