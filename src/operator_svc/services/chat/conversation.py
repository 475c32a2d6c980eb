"""Sessions that a client makes and fills without a chat."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import msgspec

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
from operator_svc.stores.conversation import ConversationStore, NewMessage
from operator_svc.stores.message_rows import Key


class Conversations:
    """Makes sessions and adds messages to them; each that is made counts for its token's rate."""

    def __init__(
        self,
        store: ConversationStore,
        keys: ChatKeyStore,
        quota: ChatQuota,
        hub: SessionHub,
        drain: DrainState,
    ) -> None:
        self._store = store
        self._keys = keys
        self._quota = quota
        self._hub = hub
        self._drain = drain

    async def create(self, caller: Caller, metadata: dict[str, Any], messages: list[Said]) -> str:
        """Make a session with messages; its id. Raises OperatorError: draining, rate_limited."""
        self._drain.refuse_new()
        self._quota.open_session(caller)
        user_id, session_id, epoch = acting_user(caller, None), uuid.uuid4().hex, str(uuid.uuid4())
        opened = await self._store.open(
            session_id, epoch=epoch, user_id=user_id, source="openai", metadata=metadata
        )
        if opened is None:
            raise no_session()
        self._hub.session_created(session_id, epoch)
        first = session_created(
            session_id, 1, opened.ts, epoch=epoch, user_id=user_id, source="openai"
        )
        self._hub.publish(session_id, first)
        if messages:
            await self._add(caller, session_id, messages, None)
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
        body_hash = hashlib.sha256(msgspec.json.encode((session_id, messages))).digest()
        key = Key(acting_user(caller, None), intent.key, body_hash, intent.renewal)
        try:
            return await self._add(caller, session_id, messages, key)
        except KeyTakenError:
            known = await self._keys.get(key.scope, key.key)
        if known is None or known.session_id != session_id or not key.is_of(known.body_hash):
            raise OperatorError(
                ErrorCode.CONFLICT, "this idempotency key was used for another request"
            )
        return known.message_id, known.reply_id

    async def _add(
        self, caller: Caller, session_id: str, messages: list[Said], key: Key | None
    ) -> tuple[int, int]:
        new = [NewMessage(one.role, one.text, item_metadata(one.kept)) for one in messages]
        added = await self._store.add(session_id, caller.user_id, new, key)
        if not added:
            raise no_session()
        events = []
        for back, (row, message) in enumerate(zip(reversed(added), reversed(new), strict=True)):
            data = names.message_created(
                row.id, message.role, message.content, message.metadata, row.ts
            )
            seq = row.last_seq - back
            events.append(LiveEvent(session_id, seq, names.MESSAGE_CREATED, row.ts, data))
        self._hub.publish(session_id, *reversed(events))
        return added[0].id, added[-1].id
