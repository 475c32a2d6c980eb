"""A reply as a client sees it grow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from operator_client.errors import ClientError


class Reply:
    """A reply: its text so far, and its end once that has come.

    ``text`` is what the documents tell clients to keep: deltas are appended where they fit,
    snapshots and the last event replace it. ``status`` is ``streaming`` and then one of
    ``complete``, ``failed``, ``cancelled`` and ``interrupted``; ``error`` is the code of one
    that failed. ``begun_at`` is None until Operator has told it. ``shown`` says that frames told
    of the reply; others are known by the results of their chats alone.
    """

    def __init__(self, reply_id: int, begun_at: datetime | None = None) -> None:
        self.reply_id = reply_id
        self.begun_at = begun_at
        self.shown = False
        self.text = ""
        self.status = "streaming"
        self.error: str | None = None
        self.metadata: dict[str, Any] = {}
        self._end = 0
        self._changed = asyncio.Event()
        self._failure: ClientError | None = None

    @property
    def ended(self) -> bool:
        """True once its last event has come."""
        return self.status != "streaming"

    def began(self, at: datetime | None) -> bool:
        """Take the time at which the reply of this id began; False where it is another reply. Only
        a reply that a database has lost leaves its id to another one."""
        self.begun_at = self.begun_at or at
        return at is None or at == self.begun_at

    @property
    def waits(self) -> bool:
        """True while more of it may come."""
        return not self.ended and self._failure is None

    def append(self, offset: int, end: int, content: str) -> bool:
        """Take a delta; False where it does not follow on what is known."""
        if self.ended:
            return True
        if offset != self._end:
            return False
        self.text += content
        self._end = end
        self._changed.set()
        return True

    def replace(self, text: str, end: int) -> None:
        """Take a snapshot."""
        if not self.ended:
            self.text, self._end = text, end
            self._changed.set()

    def finish(
        self, status: str, text: str, metadata: dict[str, Any], error: str | None = None
    ) -> None:
        """Take the last event."""
        if not self.ended:
            self.text, self._end = text, len(text)
            self.status, self.metadata, self.error = status, metadata, error
            self._changed.set()

    def fail(self, error: ClientError) -> None:
        """Take the loss of the connection: nothing more will come."""
        self._failure = error
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[str]:
        """The text in pieces, as it comes. Text that a snapshot changes is not given again:
        ``text`` has it right at the end. Raises ClientError when the connection is given up."""
        given = 0
        while True:
            self._changed.clear()
            if len(self.text) > given:
                piece, given = self.text[given:], len(self.text)
                yield piece
            elif self.ended:
                return
            elif self._failure is not None:
                raise self._failure
            else:
                await self._changed.wait()

    async def wait(self) -> Reply:
        """Return itself, once it has ended."""
        async for _ in self:
            pass
        return self


def lost() -> ClientError:
    """The error of a reply that the database has lost."""
    return ClientError("reply_not_found", "the database has lost the reply")


class KnownReplies:
    """The replies of a conversation, by id: those that run, and those of chats under way."""

    def __init__(self) -> None:
        self._replies: dict[int, Reply] = {}

    def find(self, reply_id: int, begun_at: datetime | None) -> Reply | None:
        """The known reply with this id and beginning. Where another one has the id by now, the
        known one is lost, and forgotten."""
        reply = self._replies.get(reply_id)
        if reply is not None and not reply.began(begun_at):
            del self._replies[reply_id]
            reply.fail(lost())
            return None
        return reply

    def get(self, reply_id: int, begun_at: datetime | None = None) -> Reply:
        """The same; a new one where there is none."""
        reply = self.find(reply_id, begun_at)
        if reply is None:
            reply = self._replies[reply_id] = Reply(reply_id, begun_at)
        return reply

    def forget_ended(self) -> None:
        """Drop the replies that have ended: whoever asked for one holds it."""
        self._replies = {id: reply for id, reply in self._replies.items() if reply.waits}

    def waiting(self) -> list[Reply]:
        """Those of which more may come."""
        return [reply for reply in self._replies.values() if reply.waits]
