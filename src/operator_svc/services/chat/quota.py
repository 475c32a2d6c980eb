"""Quota of chats: how many a minute, and how many replies of one token at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.services.chat.refused_attempts import RefusedAttempts
from operator_svc.services.rate_limit import RateLimit

_NO_SESSION = ""


class ReplyPlace:
    """The place of one reply among those of its token at once."""

    def __init__(self, running: Counter[str], name: str) -> None:
        self._running: Counter[str] | None = running
        self._name = name
        running[name] += 1

    def hold(self, reply: asyncio.Future[Any]) -> None:
        """Keep the place until ``reply`` has ended, whoever leaves meanwhile."""
        running, self._running = self._running, None
        if running is not None:
            reply.add_done_callback(lambda _: _free(running, self._name))

    def release(self) -> None:
        """Give the place up, unless a reply holds it."""
        running, self._running = self._running, None
        if running is not None:
            _free(running, self._name)


def _free(running: Counter[str], name: str) -> None:
    running[name] -= 1
    if not running[name]:
        del running[name]


class ChatQuota:
    """Counts the chats of each caller and session, those without a session and those that open one
    for the token, and the replies of this process that run for each token. 0 is no limit for
    either."""

    def __init__(self, per_minute: int, replies_per_token: int) -> None:
        self.rate = RateLimit(per_minute, 60.0, "chats of one session")
        self.refused = RefusedAttempts()
        self._replies_per_token = replies_per_token
        self._running: Counter[str] = Counter()

    @staticmethod
    def key(caller: Caller, session_id: str | None) -> str:
        """The key within ``rate`` of a chat."""
        return f"{caller.name} {session_id or _NO_SESSION}"

    def key_of_refusal(self, caller: Caller, session_id: str | None) -> str:
        """The key within ``rate`` that leaves least to a chat that was refused."""
        keys = (self.key(caller, session_id), self.key(caller, None))
        return min(keys, key=self.rate.left)

    def begin(self, caller: Caller, session_id: str | None) -> ReplyPlace:
        """Count a chat that begins, and take a place, which is to be held by its reply or released.

        Raises OperatorError(rate_limited).
        """
        most = self._replies_per_token
        if most and self._running[caller.name] >= most:
            raise OperatorError(
                ErrorCode.RATE_LIMITED,
                f"more than {most} replies of one token at once",
                retry_after=1.0,
            )
        self.rate.take(self.key(caller, session_id))
        return ReplyPlace(self._running, caller.name)

    def open_session(self, caller: Caller) -> None:
        """Count a chat for the token too, since it opens the session that it names: else new names
        go around the rate. Raises OperatorError(rate_limited)."""
        self.rate.take(self.key(caller, None))

    def give_back(self, caller: Caller, session_id: str | None) -> None:
        """Take back what ``begin`` counted of a chat that its caller may not have."""
        self.rate.give_back(self.key(caller, session_id))
