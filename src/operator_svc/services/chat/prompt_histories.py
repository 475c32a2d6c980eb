"""The history of a chat: what its client brings, or the last exchanges of its session.

The process that wrote the last reply of a session keeps its exchanges, so that the next chat need
not read them. Whether they still are the last ones is told by the write that begins the chat: each
change of a session has the next number, and a session that is another one has another epoch.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from operator_svc.models import Message, ReplyStatus
from operator_svc.protocol.chat import Chat
from operator_svc.protocol.engine_fields import ENGINE_FIELDS, NO_ENGINE_FIELDS
from operator_svc.services.chat.prompt import (
    HistoryLimits,
    PromptTurn,
    clients_history,
    stored_history,
)
from operator_svc.services.chat.running_replies import Accepted
from operator_svc.services.live.events import LiveEvent
from operator_svc.stores.message_reads import NOT_READ
from operator_svc.stores.message_rows import Exchange, Recent, Started
from operator_svc.stores.messages import MessageStore

MOST_BYTES = 2 * 1024 * 1024
"""Bytes of texts that are kept; the session that was kept first is forgotten first."""
OVERHEAD = 300
"""Bytes of a session and of an exchange besides their texts, about."""
AGE = 600.0
"""Seconds after which exchanges are forgotten, or a tenth more: the session may be deleted then."""
BLANK = " \t\n\r"
"""White space that alone is no answer, as for the queries."""


class _Kept(NamedTuple):
    recent: Recent
    size: int
    since: float


class RecentExchanges:
    """The last exchanges of sessions, up to ``most`` bytes of them."""

    def __init__(self, most: int = MOST_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        """The one that was put last is the last one."""
        self.size = 0
        self._timer: asyncio.TimerHandle | None = None

    def get(self, session_id: str) -> Recent | None:
        """The last exchanges of a session, if they are kept."""
        found = self._kept.get(session_id)
        return None if found is None else found.recent

    def put(self, session_id: str, recent: Recent) -> None:
        """Keep the last exchanges of a session."""
        self.forget(session_id)
        size = OVERHEAD + sum(map(_size, recent.exchanges))
        self._kept[session_id] = _Kept(recent, size, self._clock())
        self.size += size
        self._forget_old()
        if self._kept and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AGE, self._expire)

    def _expire(self) -> None:
        """Forget what is too old though nothing follows it, as texts of a deleted session."""
        self._timer = None
        self._forget_old()
        if self._kept:
            self._timer = asyncio.get_running_loop().call_later(AGE / 10, self._expire)

    def _forget_old(self) -> None:
        now = self._clock()
        while self._kept:
            oldest, kept = next(iter(self._kept.items()))
            if self.size <= self._most and now - kept.since < AGE:
                return
            self.forget(oldest)

    def forget(self, session_id: str) -> None:
        """Keep nothing of a session."""
        if (kept := self._kept.pop(session_id, None)) is not None:
            self.size -= kept.size


class PromptHistories:
    """Finds out what was said before a chat, up to ``limits``."""

    def __init__(
        self, messages: MessageStore, limits: HistoryLimits, most_bytes: int = MOST_BYTES
    ) -> None:
        self._messages = messages
        self.limits = limits
        self._recent = RecentExchanges(most_bytes)

    def recent(self, session_id: str, chat: Chat) -> Recent | None:
        """The last exchanges of the session as far as is known here, for the write that begins
        ``chat``; it says whether they are."""
        return self._recent.get(session_id) if chat.history is None else None

    def at_start(self, chat: Chat, started: Started) -> list[PromptTurn]:
        """The history of a chat that was begun."""
        if chat.history is not None:
            return clients_history(chat.history, self.limits)
        return stored_history(started.exchanges or [], self.limits)

    async def before(self, chat: Chat, message: Message) -> list[PromptTurn]:
        """The history for one more reply: read before the write, after which nothing waits."""
        limits = self.limits
        if chat.history is not None or not limits.exchanges:
            return clients_history(chat.history or [], limits)
        exchanges = await self._messages.exchanges(
            message.session_id, before=message.id, limit=limits.exchanges, max_chars=limits.chars
        )
        return stored_history(exchanges, limits)

    def follow(
        self, accepted: Accepted, chat: Chat, started: Started, earlier: list[Exchange] | None
    ) -> None:
        """Keep the exchange that ``chat`` and its reply will be, after the ``earlier`` ones of its
        session (None where they are not known)."""
        plain = chat.engine == NO_ENGINE_FIELDS and bool(chat.message.strip(BLANK))
        # Of items, more are read than of exchanges; a list of both is not cut like one.
        plain = plain and all(one.answer is not None for one in earlier or ())
        if earlier is None or earlier is NOT_READ or not plain or not self.limits.exchanges:
            self._recent.forget(accepted.session_id)
        elif accepted.running is not None:
            done = partial(self._ended, accepted.session_id, chat.message, started, earlier)
            accepted.running.done.add_done_callback(done)

    def _ended(
        self,
        session_id: str,
        question: str,
        started: Started,
        earlier: list[Exchange],
        done: asyncio.Future[LiveEvent | None],
    ) -> None:
        event = None if done.cancelled() or done.exception() else done.result()
        exchanges = None
        if event is not None and event.seq == started.last_seq + 1:
            exchanges = self._after(question, event, earlier)
        if event is None or exchanges is None:
            self._recent.forget(session_id)
        else:
            self._recent.put(session_id, Recent(started.epoch, event.seq, exchanges))

    def _after(
        self, question: str, event: LiveEvent, earlier: list[Exchange]
    ) -> list[Exchange] | None:
        """The last exchanges after a reply's end; None where they have to be read. No history has a
        failed reply, and to pass over many of them takes long."""
        if event.data["status"] == ReplyStatus.FAILED:
            return earlier
        if not _is_plain_answer(event):
            return None
        most = self.limits.chars + 1  # as the queries cut
        newest = Exchange(question[:most], event.data["content"][:most])
        return [newest, *earlier][: self.limits.exchanges]


def _is_plain_answer(event: LiveEvent) -> bool:
    """True for the end of a whole reply that is text and keeps nothing for the engine."""
    data = event.data
    return (
        data["status"] == ReplyStatus.COMPLETE
        and bool(data["content"].strip(BLANK))
        and ENGINE_FIELDS not in (data["metadata"] or {})
    )


def _size(exchange: Exchange) -> int:
    return OVERHEAD + sys.getsizeof(exchange.question) + sys.getsizeof(exchange.answer)
