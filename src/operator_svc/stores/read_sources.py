"""Chooses the source of a read: a standby that is near enough, else the primary."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from operator_svc.db import Database, PassedOver, Reads, Replica
from operator_svc.models import Session
from operator_svc.stores.message_reads import MessageReads
from operator_svc.stores.sessions import SessionReads
from operator_svc.stores.tool_calls import ToolCallReads
from operator_svc.telemetry import READS

T = TypeVar("T")


class ReadSource:
    """The stores of one database, as far as a standby has them too."""

    def __init__(self, db: Reads, *, standby: bool) -> None:
        self.sessions = SessionReads(db)
        self.messages = MessageReads(db)
        self.tool_calls = ToolCallReads(db)
        self._standby = standby

    def needs_primary(self, reason: str) -> None:
        """Raise PassedOver on a standby, because only the primary can serve the read."""
        if self._standby:
            raise PassedOver(reason)


class ReadSources:
    """Has reads answered by the standby, where there is one, as if it were the primary.

    A client goes back in time nowhere: what it was shown by any process, or wrote, was committed
    before it asked, and a standby answers only where it has replayed that.
    """

    def __init__(self, database: Database, replica: Replica | None = None) -> None:
        self.primary = ReadSource(database, standby=False)
        self._replica = replica

    async def of_session(self, session: Session, read: Callable[[ReadSource], Awaitable[T]]) -> T:
        """The answer of ``read`` to a question about a session, which the primary has just given.

        Each change of what a session shows, but the text of running replies, is an event. So a
        standby is near enough where the session's newest event is there.
        """

        async def read_if_near(source: ReadSource) -> T:
            there = await source.sessions.get(session.session_id)
            if there is None or there.epoch != session.epoch or there.last_seq < session.last_seq:
                raise PassedOver("behind")
            return await read(source)

        return await self._read(read, read_if_near, all_of_it=False)

    async def of_all(self, read: Callable[[ReadSource], Awaitable[T]]) -> T:
        """The answer of ``read`` to a question about all sessions; the standby is given a moment to
        replay what the primary has committed. Raises OperatorError(database_unavailable)."""
        return await self._read(read, read, all_of_it=True)

    async def _read(
        self,
        on_primary: Callable[[ReadSource], Awaitable[T]],
        on_standby: Callable[[ReadSource], Awaitable[T]],
        *,
        all_of_it: bool,
    ) -> T:
        if self._replica is None:
            return await on_primary(self.primary)
        try:
            async with self._replica.reads(all_of_it=all_of_it) as reads:
                found = await on_standby(ReadSource(reads, standby=True))
        except PassedOver as passed:
            READS.labels("primary", passed.reason).inc()
            return await on_primary(self.primary)
        READS.labels("replica", "").inc()
        return found
