"""Calls whose answer was lost on its way: the server has given it, and nothing comes.

A firewall or a proxy that forgets a connection closes nothing, and neither does a network that
loses packets in one direction. Such a call would wait until its timeout, and its connection with
it; where all connections of a pool are in that state, everybody waits. The server knows better:
a session that is idle has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg  # type: ignore[import-untyped]  # it has no types
import structlog

from operator_svc.background import TaskOwner

log = structlog.get_logger(__name__)

OVERDUE_SECONDS = 1.5
"""Age from which the server is asked about a call. Others are to go on within 5 s of a fault."""
CHECK_SECONDS = 1.0
"""Pause between two looks for such calls, and the longest that the server may take to answer."""

ANSWERED = """
    SELECT pid FROM pg_stat_activity
    WHERE pid = ANY($1::integer[]) AND state = 'idle'
        AND usename = current_user AND datname = current_database() AND application_name = $2
        AND state_change < clock_timestamp() - interval '1 second'
"""
"""Those of some sessions that have had nothing to do for a second. A pooler that keeps sessions
invents the numbers that it gives to connections: these are not found."""

Ask = Callable[[list[int]], Awaitable[set[int]]]


class OverdueCalls:
    """Notes the calls that wait, and cuts the connections of those that wait for nothing."""

    def __init__(self, ask: Ask) -> None:
        """``ask`` returns those of some sessions, by pid, that are idle."""
        self._ask = ask
        self._waiting: dict[asyncpg.Connection, float] = {}
        self._clock: asyncio.TimerHandle | None = None
        self._checks = TaskOwner("overdue calls")

    def begin(self, connection: asyncpg.Connection) -> None:
        """Note a call that begins."""
        loop = asyncio.get_running_loop()
        self._waiting[connection] = loop.time()
        if self._clock is None:
            self._clock = loop.call_later(CHECK_SECONDS, self._look)

    def end(self, connection: asyncpg.Connection) -> None:
        """Note that the call of a connection has ended, however it did."""
        del self._waiting[connection]

    def _overdue(self) -> dict[asyncpg.Connection, float]:
        latest = asyncio.get_running_loop().time() - OVERDUE_SECONDS
        return {one: since for one, since in self._waiting.items() if since < latest}

    def _look(self) -> None:
        """Look again in a while, as long as calls wait; nothing is looked for while none does."""
        self._clock = None
        if self._waiting:
            self._clock = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._look)
        if not len(self._checks) and (overdue := self._overdue()):
            self._checks.start(self._check(overdue), "check")

    async def _check(self, overdue: dict[asyncpg.Connection, float]) -> None:
        pids = {one.get_server_pid(): one for one in overdue if not one.is_closed()}
        try:
            idle = await self._ask(list(pids))
        except Exception as error:  # the calls keep their own timeouts
            log.debug("the server did not tell which sessions are idle", error=repr(error))
            return
        for pid in idle:
            connection = pids[pid]
            if self._waiting.get(connection) == overdue[connection]:
                log.warning("an answer of the database was lost: its connection is cut", pid=pid)
                connection.terminate()

    async def aclose(self) -> None:
        """Look for nothing more."""
        if self._clock is not None:
            self._clock.cancel()
        await self._checks.aclose()
