"""Calls whose answer was lost on its way: the server has given it, and nothing comes.

A firewall or a proxy that forgets a connection closes nothing, and neither does a network that
loses packets in one direction. Such a call would wait until its timeout, and its connection with
it; where all connections of a pool are in that state, everybody waits. The server that takes writes
knows better: a session that is idle has answered, and one that is not there never will.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from weakref import WeakKeyDictionary

import asyncpg  # type: ignore[import-untyped]  # it has no types
import structlog

from operator_svc.background import TaskOwner
from operator_svc.models import Backend

log = structlog.get_logger(__name__)

OVERDUE_SECONDS = 1.5
"""Age from which the server is asked about a call. Others are to go on within 5 s of a fault."""
CHECK_SECONDS = 1.0
"""Pause between two looks for such calls, and the longest that the server may take to answer."""

BACKEND = "SELECT pid, backend_start FROM pg_stat_get_activity(pg_backend_pid())"
"""The session of a connection. The number that the driver knows may be a pooler's invention. The
view of the same would cost a new session, which has no plan of it yet, as much as its own start."""
WORKING = """
    SELECT a.pid, a.backend_start
    FROM unnest($1::integer[], $2::timestamptz[]) AS w (pid, began)
    INNER JOIN pg_stat_activity AS a ON a.pid = w.pid AND a.backend_start = w.began
    WHERE
        a.state IS DISTINCT FROM 'idle'
        OR a.state_change > clock_timestamp() - interval '1 second'
"""
"""Those of some sessions from which an answer may come. Others have had nothing to do for a second,
or are gone, as those of a primary that vanished when another one took over."""

Ask = Callable[[list[int], list[datetime]], Awaitable[set[Backend]]]


class OverdueCalls:
    """Notes the calls that wait, and cuts the connections of those that wait for nothing."""

    def __init__(self, ask: Ask) -> None:
        """``ask`` returns those of some sessions, by pid and start, from which answers may come."""
        self._ask = ask
        self._sessions: WeakKeyDictionary[asyncpg.Connection, Backend] = WeakKeyDictionary()
        self._waiting: dict[asyncpg.Connection, float] = {}
        self._clock: asyncio.TimerHandle | None = None
        self._checks = TaskOwner("overdue calls")

    def note(self, connection: asyncpg.Connection, session: Backend) -> None:
        """Note the session of a connection, before any call of it."""
        self._sessions[connection] = session

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
        sessions = {one: self._sessions[one] for one in overdue if not one.is_closed()}
        try:
            working = await self._ask(
                [session.pid for session in sessions.values()],
                [session.started_at for session in sessions.values()],
            )
        except Exception as error:  # the calls keep their own timeouts
            log.debug("the server did not tell which sessions work", error=repr(error))
            return
        for connection, session in sessions.items():
            if session in working or self._waiting.get(connection) != overdue[connection]:
                continue
            lost = "an answer of the database was lost: its connection is cut"
            log.warning(lost, pid=session.pid)
            connection.terminate()

    async def aclose(self) -> None:
        """Look for nothing more."""
        if self._clock is not None:
            self._clock.cancel()
        await self._checks.aclose()
