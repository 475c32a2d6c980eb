"""Keys for callers that repeat a call without saying which one it is.

OpenAI's SDKs repeat a POST that failed on its way, without an idempotency key, and count the
attempts (``x-stainless-retry-count``). One intent is one call to the engine: an attempt after
the first is the same chat as the latest one with the same token, path, session and body.
"""

from __future__ import annotations

import hashlib
import os
import time
from datetime import UTC, datetime

from operator_svc.models import Caller
from operator_svc.services.access import acting_user
from operator_svc.stores.chat_keys import ChatKeyStore

WITHIN = 600.0
"""Seconds within which a call is repeated; SDKs give up far earlier."""


class Intents:
    """Gives a call the idempotency key of its intent."""

    def __init__(self, keys: ChatKeyStore) -> None:
        self._keys = keys

    async def key(
        self, caller: Caller, user_id: str | None, *asked: bytes | str, repeated: bool
    ) -> str:
        """The key of a call for what is ``asked``: a new one, or where it is ``repeated``, that
        of the call that it repeats, if there is one.

        Raises OperatorError: forbidden, database_unavailable.
        """
        digest = hashlib.sha256(caller.name.encode())
        for part in asked:
            data = part.encode() if isinstance(part, str) else part
            digest.update(b"%d:%b" % (len(data), data))
        intent = f"intent-{digest.hexdigest()[:40]}"
        if repeated:
            # A key ends with its time, so the last one in order is the latest.
            known = await self._keys.last(
                acting_user(caller, user_id), above=f"{intent}.", below=f"{intent}/"
            )
            if known is not None:
                age = datetime.now(UTC) - known.created_at
                if age.total_seconds() < WITHIN:
                    return known.key
        return f"{intent}.{time.time_ns() // 10**6:015d}{os.urandom(3).hex()}"
