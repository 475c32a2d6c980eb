"""A pool of connections to either engine.

asyncpg's own pool makes two tasks for each use and resets the session in between; this one
hands a free connection over without either, and never waits beyond its deadline.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Generic, TypeVar

from operator_svc.db.contract import unavailable
from operator_svc.telemetry import DB_POOL_WAIT_SECONDS

C = TypeVar("C")

FRESH_SECONDS = 15.0
"""Seconds after which an idle connection is checked before use: firewalls drop silent connections,
and a vanished machine sends nothing."""


PATIENCE = 0.05
"""Seconds for which one waits for a connection that is being opened for another, before opening one
more. To open one takes about as long, and it is free again in a moment: so few serve the many who
come at once, as at a start, and cost the server a fraction of what one for each would."""


class Pool(Generic[C]):
    """Up to ``size`` connections, opened when none is free, and one after the other where that does
    not take long; the last one used goes out first.

    ``connect`` opens one by a deadline (in the loop's time), ``usable`` says if a free one
    may still be used; one that is not is forgotten. ``prove`` asks a free one that is in doubt,
    by a deadline too, and closes it where it fails; without it nothing is ever in doubt.
    """

    def __init__(
        self,
        connect: Callable[[float], Awaitable[C]],
        usable: Callable[[C], bool],
        size: int,
        prove: Callable[[C, float], Awaitable[bool]] | None = None,
    ) -> None:
        self._connect = connect
        self._usable = usable
        self._limit = size
        self._prove = prove
        self._doubted = float("-inf")
        self._open = self._opening = 0
        self._idle: list[tuple[C, float]] = []
        self._waiting: deque[asyncio.Future[C | None]] = deque()
        self._closed = False
        self._all_free: asyncio.Event | None = None

    @property
    def size(self) -> int:
        """Connections that are open or being opened."""
        return self._open

    async def acquire(self, deadline: float) -> C:
        """A connection for the caller alone; it must be given to ``release`` or ``discard``.

        Raises OperatorError(DATABASE_UNAVAILABLE) when none is free by ``deadline``, and what
        ``connect`` raises.
        """
        if self._closed:
            raise unavailable("the database is closed")
        while self._idle:
            connection, since = self._idle.pop()
            if not self._usable(connection):
                self._open -= 1
                continue
            if self._is_fresh(since) or await self._proven(connection, deadline):
                return connection
            return await self._fill(deadline)
        if self._open < self._limit and not self._opening:
            self._open += 1
            return await self._fill(deadline)
        started = perf_counter()
        try:
            handed = await self._turn(deadline)
        finally:
            DB_POOL_WAIT_SECONDS.observe(perf_counter() - started)
        return await self._fill(deadline) if handed is None else handed

    def _is_fresh(self, since: float) -> bool:
        now = asyncio.get_running_loop().time()
        return since > self._doubted and now - since < FRESH_SECONDS

    async def _proven(self, connection: C, deadline: float) -> bool:
        if self._prove is None:
            return True
        try:
            return await self._prove(connection, deadline)
        except BaseException:
            self._give_place()
            raise

    async def _fill(self, deadline: float) -> C:
        """Open a connection for a place that is already counted."""
        self._opening += 1
        try:
            connection = await self._connect(deadline)
        except BaseException:
            self._give_place()
            raise
        finally:
            self._opening -= 1
        if self._closed:
            self.release(connection)
            raise unavailable("the database is closed")
        return connection

    async def _turn(self, deadline: float) -> C | None:
        """Wait for a connection, or None for the place of one."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[C | None] = loop.create_future()
        self._waiting.append(turn)
        clock = loop.call_at(deadline, _too_late, turn)
        patience = loop.call_later(PATIENCE, self._add_place, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                if (handed := turn.result()) is None:
                    self._give_place()
                else:
                    self.release(handed)
            raise
        finally:
            clock.cancel()
            patience.cancel()

    def _add_place(self, turn: asyncio.Future[C | None]) -> None:
        """Give one who has waited long enough a place of its own, if there is room for it."""
        if not turn.done() and self._open < self._limit:
            self._open += 1
            turn.set_result(None)

    def release(self, connection: C) -> None:
        """Take a connection back that can be used again."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._idle.append((connection, asyncio.get_running_loop().time()))
        self._note_free()

    def doubt(self) -> None:
        """Have each free connection prove itself before it is used again: something happened
        that may have happened to all of them."""
        self._doubted = asyncio.get_running_loop().time()

    def discard(self) -> None:
        """Forget a connection that was given out: the caller has closed it."""
        self._give_place()

    def take_idle(self) -> list[C]:
        """Forget all free connections: the caller closes them."""
        taken, self._idle = [connection for connection, _ in self._idle], []
        self._open -= len(taken)
        return taken

    async def drain(self, grace: float) -> list[C]:
        """Give out no more, wait up to ``grace`` seconds for those that are out, and return all
        free ones for the caller to close."""
        self._closed = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(unavailable("the database is closed"))
        self._waiting.clear()
        if len(self._idle) < self._open:
            self._all_free = asyncio.Event()
            try:
                async with asyncio.timeout(grace):
                    await self._all_free.wait()
            except TimeoutError:
                pass
        return self.take_idle()

    def _give_place(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._open -= 1
        self._note_free()

    def _note_free(self) -> None:
        if self._all_free is not None and len(self._idle) == self._open:
            self._all_free.set()


def _too_late(turn: asyncio.Future[C | None]) -> None:
    if not turn.done():
        turn.set_exception(unavailable("no connection to the database became free in time"))
