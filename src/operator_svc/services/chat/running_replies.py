"""The replies that this process writes: one registry for all that need to find them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from operator_svc.errors import OperatorError
from operator_svc.models import (
    MAX_REPLY_TOOL_CALL_BYTES,
    MAX_REPLY_TOOL_CALLS,
    Json,
    ReplyStatus,
)
from operator_svc.services.live.events import LiveEvent
from operator_svc.services.live.reply_stream import ReplyStream
from operator_svc.stores.message_rows import Started

NOTHING_KEPT: Mapping[str, Json] = {}


def is_unanswered(status: str, *, awaited: bool) -> bool:
    """True for the end of a reply after which a repeated chat is tried anew. An awaited one is
    cancelled because its caller has left, and wants it whole when it comes back."""
    ends = (ReplyStatus.FAILED, ReplyStatus.INTERRUPTED)
    return status in ends or (awaited and status == ReplyStatus.CANCELLED)


class ReplyResult(NamedTuple):
    """A reply that has ended, as its last event says."""

    status: ReplyStatus
    content: str
    metadata: dict[str, Any]
    ended_at: datetime

    @classmethod
    def of_event(cls, event: LiveEvent) -> ReplyResult:
        """The result that a reply's last event holds."""
        data = event.data
        return cls(ReplyStatus(data["status"]), data["content"], data["metadata"], event.ts)


class Asker(NamedTuple):
    """Whom a reply's tokens count for: the name of the token, and the user that it acted for."""

    token: str
    user_id: str


class ToolCallRoom:
    """The room for the tool calls of one reply. ``asked`` is the number of calls that came, and
    ``truncated`` says that some are not kept."""

    def __init__(self) -> None:
        self.asked = 0
        self.truncated = False
        self._calls = MAX_REPLY_TOOL_CALLS
        self._bytes = MAX_REPLY_TOOL_CALL_BYTES

    def take(self, size: int, *, new: bool) -> bool:
        """Take room for a call, or for the end of one that is kept; False where there is none."""
        self.asked += 1
        if size > self._bytes or (new and not self._calls):
            self.truncated = True
            return False
        self._bytes -= size
        self._calls -= new
        return True


class RunningReply:
    """A reply that this process writes.

    ``done`` gives its last event, or None where this process does not know how it ended; it
    raises OperatorError where the end cannot be stored.
    """

    def __init__(
        self,
        session_id: str,
        started: Started,
        asker: Asker,
        kept: Mapping[str, Json] = NOTHING_KEPT,
    ) -> None:
        self.session_id = session_id
        self.asker = asker
        self.kept = kept
        """Metadata of the reply besides its outcome."""
        self.reply_id = started.reply_id
        self.message_id = started.message_id
        self.begun_at = started.ts
        """When it began, by the database's clock; no other reply of this id began then."""
        self.stream = ReplyStream(session_id, started.reply_id, started.ts, local=True)
        self.done: asyncio.Future[LiveEvent | None] = asyncio.get_running_loop().create_future()
        self._waiting: set[asyncio.Future[None]] = set()
        self.begun = time.perf_counter()
        self.switch_s = 0.0
        """Seconds that the call to Switch took."""
        self.chunked = False
        """True once a chunk of it may be stored."""
        self.tool_calls = ToolCallRoom()
        self.reading = False
        """True while Switch is read, which cancelling the task ends."""
        self.stop: ReplyStatus | None = None
        """The status that the reply ends with, once it is to end."""
        self.abandoned = False
        """True once another pod owns the reply, or nobody: nothing more of it is written."""
        self._task: asyncio.Task[None] | None = None

    def run_as(self, task: asyncio.Task[None]) -> None:
        """Name the task that writes the reply."""
        self._task = task

    def end_with(self, status: ReplyStatus) -> None:
        """Stop reading and end with ``status``, keeping what there is; the first call counts."""
        if self.stop is None and not self.abandoned:
            self.stop = status
            self.cancel_upstream()

    def cancel_upstream(self) -> None:
        """End the call to Switch; a reply that has not begun to read sees by itself that it
        need not (a task that is cancelled before its first step would never run at all)."""
        if self.reading and self._task is not None:
            self._task.cancel()

    def abandon(self) -> None:
        """Write nothing more: the reply is not this process's any more."""
        if not self.abandoned:
            self.abandoned = True
            if self._task is not None and (self.reading or self.stop is not None):
                self._task.cancel()

    async def ended(self) -> LiveEvent | None:
        """Wait for ``done``, which a caller that leaves does not cancel. It takes a turn of the
        event loop less than a shield."""
        if not self.done.done():
            waiting = self.done.get_loop().create_future()
            self._waiting.add(waiting)
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)
        return self.done.result()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def resolve(self, event: LiveEvent | None) -> None:
        """Give ``done`` its answer."""
        if not self.done.done():
            self.done.set_result(event)
            self._wake()

    def fail(self, error: OperatorError) -> None:
        """Have ``done`` raise."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # there may be nobody who waits
            self._wake()


class Accepted(NamedTuple):
    """A chat that is stored. ``running`` is its reply, if this process writes it, and ``started``
    that reply's first event, if this chat has begun it."""

    session_id: str
    message_id: int
    reply_id: int
    begun_at: datetime
    running: RunningReply | None = None
    started: LiveEvent | None = None

    def ids(self) -> dict[str, str | int]:
        """The ids as clients get them."""
        return {
            "session_id": self.session_id,
            "message_id": self.message_id,
            "reply_id": self.reply_id,
        }

    def result(self) -> dict[str, Any]:
        """The data of the ``result`` that answers a chat. ``created_at`` is when the reply began:
        a database that lost commits gives its id again, and not its beginning."""
        return {**self.ids(), "created_at": self.begun_at}


class RunningReplies:
    """The registry; a reply is in it from its start until its end is stored or given up."""

    def __init__(self) -> None:
        self._by_id: dict[int, RunningReply] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[RunningReply]:
        return iter(list(self._by_id.values()))

    @property
    def ids(self) -> Collection[int]:
        """The ids of the replies."""
        return self._by_id.keys()

    def sessions(self) -> set[str]:
        """The sessions that they belong to."""
        return {running.session_id for running in self._by_id.values()}

    def get(self, reply_id: int, begun_at: datetime) -> RunningReply | None:
        """The reply that began then, if this process writes it.

        After a switch-over that lost commits another reply may have the id of a lost one.
        """
        running = self._by_id.get(reply_id)
        return running if running is not None and running.begun_at == begun_at else None

    def stream_of(self, reply_id: int, begun_at: datetime) -> ReplyStream | None:
        """See LocalReplies."""
        running = self.get(reply_id, begun_at)
        return None if running is None else running.stream

    def add(self, running: RunningReply) -> None:
        """Enter a reply that begins.

        Where one of this id is there already, a switch-over has lost it, and the database gives
        its id anew.
        """
        if (lost := self._by_id.get(running.reply_id)) is not None:
            lost.abandon()
        self._by_id[running.reply_id] = running
        self._empty.clear()

    def remove(self, running: RunningReply) -> None:
        """Take out a reply that has ended."""
        if self._by_id.get(running.reply_id) is running:
            del self._by_id[running.reply_id]
        if not self._by_id:
            self._empty.set()

    async def wait_empty(self) -> None:
        """Wait until none is left."""
        await self._empty.wait()
