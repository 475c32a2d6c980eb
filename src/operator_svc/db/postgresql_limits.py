"""Limits of statements through a pooler, which many processes share.

What a process does not end in time the server ends, or the process cuts its connection, instead of
asking for a cancellation, as the driver does by itself: PgBouncer 1.18 dies of such a request at
times ("bad client state: 0"), and with it the way of all processes to the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it has no types

T = TypeVar("T")

IDLE_SECONDS = 3.0
"""Longest pause of a process within a transaction: one that stands still, or whose answer is lost,
keeps its locks, and a session of the pooler, from all others. They are to go on within 5 s, and a
process on a busy machine may well pause for a second or two."""
END_SECONDS = 3.0
"""Longest wait for the answer to the end of a transaction. The server has then ended it and bounds
nothing more: a lost answer would hold a session of the pooler for as long as a call may take."""
STATEMENT_SHARE = 0.9
"""Part of the time of a call after which the server ends a statement. So it is over before the
process gives up, which costs the pooler and the process their connections."""

_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED;"
    " SET LOCAL idle_in_transaction_session_timeout = {:.0f};"
    " SET LOCAL statement_timeout = {:.0f}"
)
_WHOLE = "; SET LOCAL transaction_timeout = {:.0f}"
"""For a process that stands still while its statement is prepared: no other timeout counts that."""
_WHOLE_SINCE = (17, 0)
"""The first version of PostgreSQL that knows it."""


def begin(connection: asyncpg.Connection, seconds: float) -> str:
    """The statement that begins a transaction of at most ``seconds``."""
    milliseconds = seconds * 1000
    sql = _BEGIN.format(IDLE_SECONDS * 1000, max(milliseconds * STATEMENT_SHARE, 1))
    if connection.get_server_version() >= _WHOLE_SINCE:
        sql += _WHOLE.format(max(milliseconds, 1))
    return sql


async def cut_if_late(
    work: Coroutine[Any, Any, T], seconds: float, *connections: asyncpg.Connection
) -> T:
    """The result of ``work`` with these connections, which are cut where it takes longer than
    ``seconds``, and where nobody waits for it any more. Raises TimeoutError, and what it raises."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
        if not done:
            raise TimeoutError
    except BaseException:
        for connection in connections:
            connection.terminate()
        task.add_done_callback(_retrieve)  # it ends at once, by an error of a lost connection
        await asyncio.wait([task])
        raise
    return task.result()


async def end(connection: asyncpg.Connection, how: Literal["COMMIT", "ROLLBACK"]) -> None:
    """End a transaction. Raises what asyncpg raises, and ConnectionError, with the connection cut,
    where no answer comes."""
    try:
        await cut_if_late(connection.execute(how), END_SECONDS, connection)
    except TimeoutError as error:
        raise ConnectionError(f"no answer to {how}") from error


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Take note of how a task ended, so that nothing is logged."""
    if not task.cancelled():
        task.exception()
