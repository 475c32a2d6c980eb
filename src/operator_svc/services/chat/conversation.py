"""Sessions that a client makes and fills without a chat."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from typing import Any

import msgspec
import structlog

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.protocol import events as names
from operator_svc.protocol.conversation import Said
from operator_svc.protocol.intents import Intent
from operator_svc.services.access import acting_user, no_session
from operator_svc.services.chat.message_metadata import item_metadata
from operator_svc.services.chat.quota import ChatQuota
from operator_svc.services.drain import DrainState
from operator_svc.services.live.events import LiveEvent, session_created
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.chat_keys import ChatKeyStore, KeyTakenError
from operator_svc.stores.conversation import ConversationStore, NewMessage, NewSession
from operator_svc.stores.message_rows import Key
from operator_svc.stores.session_keys import SessionKeyStore

log = structlog.get_logger(__name__)


class Conversations:
    """Makes sessions and adds messages to them; each that is made counts for its token's rate."""

    def __init__(
        self,
        store: ConversationStore,
        keys: ChatKeyStore,
        session_keys: SessionKeyStore,
        quota: ChatQuota,
        hub: SessionHub,
        drain: DrainState,
    ) -> None:
        self._store = store
        self._keys = keys
        self._session_keys = session_keys
        self._quota = quota
        self._hub = hub
        self._drain = drain

    async def create(
        self, caller: Caller, metadata: dict[str, Any], messages: list[Said], intent: Intent
    ) -> str:
        """Make a session with messages, once for each intent; its id.

        ``answered`` follows as soon as the caller has it. Raises OperatorError: conflict, draining,
        rate_limited.
        """
        self._drain.refuse_new()
        key = _key(caller, intent, (metadata, messages))
        if intent.renewal is not None and intent.renewal.repeated:
            claimed = await self._session_keys.claim(key.scope, key.key)
            if claimed is not None:
                return claimed
        with self._quota.refused.noting(intent):
            self._quota.open_session(caller)
        try:
            return await self._open(caller, metadata, messages, key)
        except KeyTakenError:
            if intent.renewal is not None:  # many ask the same at once; each has one of its own
                return await self._open(caller, metadata, messages, None)
            self._quota.give_back(caller, None)
            known = await self._session_keys.get(key.scope, key.key)
        if known is None or not key.is_of(known.body_hash):
            raise _used_otherwise()
        return known.session_id

    async def answered(self, caller: Caller, session_id: str, intent: Intent) -> None:
        """The caller has the id of the session that was made for it: a call that asks the same is
        another intent from now on, unless it brings a key of its own."""
        if intent.renewal is None:
            return
        try:
            await self._session_keys.answered(acting_user(caller, None), intent.key, session_id)
        except OperatorError as error:
            log.info("key of a session not given up", session_id=session_id, error=str(error.code))

    async def _open(
        self, caller: Caller, metadata: dict[str, Any], messages: list[Said], key: Key | None
    ) -> str:
        user_id, session_id, epoch = acting_user(caller, None), uuid.uuid4().hex, str(uuid.uuid4())
        session = NewSession(
            session_id=session_id, epoch=epoch, user_id=user_id, source="openai", metadata=metadata
        )
        new = _new(messages)
        ts, ids = await self._store.open(session, new, key)
        self._hub.session_created(session_id, epoch)
        first = session_created(session_id, 1, ts, epoch=epoch, user_id=user_id, source="openai")
        added = [
            _message_created(session_id, seq, ts, row_id, message)
            for seq, (row_id, message) in enumerate(zip(ids, new, strict=True), 2)
        ]
        self._hub.publish(session_id, first, *added)
        return session_id

    async def set_metadata(self, caller: Caller, session_id: str, metadata: dict[str, Any]) -> None:
        """Replace a session's metadata; raises OperatorError(session_not_found)."""
        if not await self._store.set_metadata(session_id, caller.user_id, metadata):
            raise no_session()

    async def add(
        self, caller: Caller, session_id: str, messages: list[Said], intent: Intent
    ) -> tuple[int, int]:
        """Add messages to a session, once for each intent; the ids of the first and the last one.

        Raises OperatorError: session_not_found, conflict, draining.
        """
        self._drain.refuse_new()
        key = _key(caller, intent, (session_id, messages))
        try:
            return await self._add(caller, session_id, messages, key)
        except KeyTakenError:
            known = await self._keys.get(key.scope, key.key)
        if known is None or known.session_id != session_id or not key.is_of(known.body_hash):
            raise _used_otherwise()
        return known.message_id, known.reply_id

    async def _add(
        self, caller: Caller, session_id: str, messages: list[Said], key: Key
    ) -> tuple[int, int]:
        new = _new(messages)
        added = await self._store.add(session_id, caller.user_id, new, key)
        if not added:
            raise no_session()
        begin = added[0].last_seq - len(added) + 1
        events = [
            _message_created(session_id, seq, row.ts, row.id, message)
            for seq, (row, message) in enumerate(zip(added, new, strict=True), begin)
        ]
        self._hub.publish(session_id, *events)
        return added[0].id, added[-1].id


def _key(caller: Caller, intent: Intent, asked: Any) -> Key:
    """The key of an intent, with the hash of what is ``asked``."""
    body_hash = hashlib.sha256(msgspec.json.encode(asked)).digest()
    return Key(acting_user(caller, None), intent.key, body_hash, intent.renewal)


def _new(messages: list[Said]) -> list[NewMessage]:
    return [NewMessage(one.role, one.text, item_metadata(one.kept)) for one in messages]


def _message_created(
    session_id: str, seq: int, ts: datetime, row_id: int, message: NewMessage
) -> LiveEvent:
    data = names.message_created(row_id, message.role, message.content, message.metadata, ts)
    return LiveEvent(session_id, seq, names.MESSAGE_CREATED, ts, data)


def _used_otherwise() -> OperatorError:
    return OperatorError(ErrorCode.CONFLICT, "this idempotency key was used for another request")
