"""Starts chats: the message is stored, and its reply begun, before the client is answered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, ChatKey, Json, Message
from operator_svc.protocol import events as names
from operator_svc.protocol.chat import Chat
from operator_svc.services.access import acting_user, no_session
from operator_svc.services.chat.message_metadata import as_before, message_metadata, reply_metadata
from operator_svc.services.chat.prompt import (
    HistoryLimits,
    PromptTurn,
    build_prompt,
    clients_history,
    said_together,
)
from operator_svc.services.chat.prompt_histories import PromptHistories
from operator_svc.services.chat.quota import ChatQuota, ReplyPlace
from operator_svc.services.chat.reply_writer import ReplyWriter
from operator_svc.services.chat.running_replies import Accepted, Asker, is_unanswered
from operator_svc.services.chat.start_events import message_events, session_events
from operator_svc.services.drain import DrainState
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.chat_keys import ChatKeyStore, KeyTakenError
from operator_svc.stores.message_rows import Key, Started
from operator_svc.stores.messages import MessageStore

START_ATTEMPTS = 4
"""Races that a start may lose against others that make or delete the same session."""


class ChatLimits(NamedTuple):
    """The most that a chat may bring along; the chats of one session a minute, and the replies
    of one token at once (0: any)."""

    history: HistoryLimits
    per_minute: int
    replies_per_token: int


class _Request(NamedTuple):
    """A permitted chat. ``user_id`` owns a new session."""

    caller: Caller
    chat: Chat
    viewer: str | None
    user_id: str
    key: Key | None
    place: ReplyPlace


class Chats:
    """Stores messages and begins their replies, once for each idempotency key."""

    def __init__(
        self,
        messages: MessageStore,
        keys: ChatKeyStore,
        writer: ReplyWriter,
        hub: SessionHub,
        limits: ChatLimits,
        drain: DrainState,
    ) -> None:
        self._messages = messages
        self._keys = keys
        self._writer = writer
        self._hub = hub
        self._histories = PromptHistories(messages, limits.history)
        self._drain = drain
        self.quota = ChatQuota(limits.per_minute, limits.replies_per_token)

    async def start(self, caller: Caller, chat: Chat) -> Accepted:
        """Store a message and begin its reply, or find the reply of its idempotency key.

        Raises OperatorError: draining, rate_limited, forbidden, conflict, message_not_found,
        session_not_found, database_unavailable.
        """
        self._drain.refuse_new()
        user_id = acting_user(caller, chat.user_id)
        key = None
        if chat.client_message_id is not None:
            key = Key(user_id, chat.client_message_id, chat.body_hash(), chat.renewal)
        place = self.quota.begin(caller, chat.session_id)
        try:
            return await self._accept(_Request(caller, chat, caller.user_id, user_id, key, place))
        except OperatorError as error:
            if error.code.status in (404, 429):
                self.quota.give_back(caller, chat.session_id)
            raise
        finally:
            place.release()

    async def _accept(self, request: _Request) -> Accepted:
        chat, key = request.chat, request.key
        try:
            if chat.regenerate is not None:
                return await self._regenerate(request, chat.regenerate)
            return await self._start(request)
        except KeyTakenError:
            assert key is not None
            return await self._repeat(request, key)

    # Each of these stores the start in one write.

    async def _start(self, request: _Request) -> Accepted:
        """A new message, in a new session where there is none yet."""
        session_id = request.chat.session_id
        awaited = session_id is not None and self._hub.is_awaited(session_id)
        for _ in range(START_ATTEMPTS):
            accepted = None
            if session_id is not None and not awaited:
                accepted = await self._continue(request, session_id)
            if accepted is None:
                accepted = await self._open(request, session_id or uuid.uuid4().hex)
            if accepted is not None:
                return accepted
            awaited = False  # somebody else made the session, or deleted it, a moment ago
        raise no_session()

    async def _continue(self, request: _Request, session_id: str) -> Accepted | None:
        chat, limits = request.chat, self._histories.limits
        started = await self._messages.start(
            session_id=session_id,
            viewer=request.viewer,
            content=chat.message,
            metadata=message_metadata(chat),
            pod_id=self._writer.pod_id,
            key=request.key,
            exchanges=limits.exchanges if chat.history is None else 0,
            max_chars=limits.chars,
            recent=self._histories.recent(session_id, chat),
        )
        if started is None:
            return None
        history = self._histories.at_start(chat, started)
        telemetry.CHATS_NEW.inc()
        events = partial(message_events, session_id, chat, started)
        accepted = await self._begin(request, session_id, started, chat.message, history, events)
        earlier = started.exchanges if chat.history is None else None
        self._histories.follow(accepted, chat, started, earlier)
        return accepted

    async def _open(self, request: _Request, session_id: str) -> Accepted | None:
        chat, named = request.chat, request.chat.session_id is not None
        if named:
            self.quota.open_session(request.caller)
        started = await self._messages.start_new(
            session_id=session_id,
            epoch=str(uuid.uuid4()),
            user_id=request.user_id,
            source=chat.source,
            content=chat.message,
            metadata=message_metadata(chat),
            pod_id=self._writer.pod_id,
            key=request.key,
        )
        if started is None:
            if named:
                self.quota.give_back(request.caller, None)
            return None
        history = clients_history(chat.history or [], self._histories.limits)
        self._hub.session_created(session_id, started.epoch)
        telemetry.CHATS_NEW.inc()
        events = partial(session_events, session_id, chat, started, request.user_id)
        accepted = await self._begin(request, session_id, started, chat.message, history, events)
        self._histories.follow(accepted, chat, started, [])
        return accepted

    async def _regenerate(self, request: _Request, message_id: int) -> Accepted:
        """One more reply to a message, which may be named by one of its replies."""
        message = await self._messages.get(message_id, request.viewer)
        if message is not None and message.role != "user" and message.reply_to is not None:
            message = await self._messages.get(message.reply_to, request.viewer)
        if message is None or message.role != "user":
            raise _no_message()
        if request.chat.session_id not in (None, message.session_id):
            raise _no_message()
        history = await self._histories.before(as_before(request.chat, message), message)
        started = await self._messages.regenerate(
            session_id=message.session_id,
            viewer=request.viewer,
            message_id=message.id,
            pod_id=self._writer.pod_id,
            key=request.key,
        )
        if started is None:
            raise _no_message()
        return await self._begin_again(request, message, started, history)

    async def _repeat(self, request: _Request, key: Key) -> Accepted:
        """The reply of a known key; one without a usable end is started again."""
        for _ in range(START_ATTEMPTS):
            known = await self._keys.get(key.scope, key.key)
            if known is None:  # deleted with its session a moment ago
                return await self._start(request)
            reply = await self._messages.get(known.reply_id, request.viewer)
            message = await self._messages.get(known.message_id, request.viewer)
            if reply is None or message is None:
                if request.viewer is not None:  # it may stand for another user's session
                    raise no_session()
                continue
            _check_same(request.chat, key, known)
            if not is_unanswered(reply.status, awaited=request.chat.awaited):
                running = self._writer.running.get(reply.id, reply.created_at)
                return Accepted(reply.session_id, message.id, reply.id, reply.created_at, running)
            history = await self._histories.before(as_before(request.chat, message), message)
            started = await self._messages.retry(
                session_id=known.session_id,
                message_id=known.message_id,
                failed_reply_id=known.reply_id,
                pod_id=self._writer.pod_id,
                key=key,
            )
            if started is not None:
                return await self._begin_again(request, message, started, history)
        raise OperatorError(ErrorCode.CONFLICT, "the key is used by too many at once")

    async def _begin_again(
        self, request: _Request, message: Message, started: Started, history: list[PromptTurn]
    ) -> Accepted:
        telemetry.CHATS_AGAIN.inc()
        return await self._begin(
            request._replace(chat=as_before(request.chat, message)),
            message.session_id,
            started,
            message.content,
            history,
            list,
            reply_metadata(request.chat),
        )

    async def _begin(
        self,
        request: _Request,
        session_id: str,
        started: Started,
        question: str,
        history: list[PromptTurn],
        events: Callable[[], list[LiveEvent]],
        kept: dict[str, Json] | None = None,
    ) -> Accepted:
        """Begin to write the reply, and show that it was begun, after the ``events`` before that.

        Where clients watch, the upstream is asked first: it works while they are told. What comes
        of the reply before its first event is shown with that one (``Feed.show_reply``).
        """
        asked = build_prompt(request.chat, question, session_id, request.user_id, history)
        asker = Asker(request.caller.name, request.user_id)
        running = self._writer.begin(session_id, started, said_together(asked), asker, kept or {})
        request.place.hold(running.done)
        data = names.reply_started(started.reply_id, started.message_id)
        first = LiveEvent(session_id, started.last_seq, names.REPLY_STARTED, started.ts, data)
        watched = self._hub.is_watched(session_id)
        try:
            if watched:
                await asyncio.sleep(0)  # the first step of the reply's task
        finally:
            shown = [*events(), first] if watched else []
            self._hub.publish(session_id, *shown, epoch=started.epoch)
        return Accepted(
            session_id, started.message_id, started.reply_id, started.ts, running, first
        )


def _check_same(chat: Chat, key: Key, known: ChatKey) -> None:
    if not key.is_of(known.body_hash) or chat.session_id not in (None, known.session_id):
        raise OperatorError(ErrorCode.CONFLICT, "this idempotency key was used for another request")


def _no_message() -> OperatorError:
    return OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")
