"""LISTEN and NOTIFY, on one connection of their own outside the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import structlog

from operator_svc.db.contract import unavailable
from operator_svc.db.postgresql_connect import READ_ONLY, Connector
from operator_svc.db.postgresql_errors import is_lost, refused, translated
from operator_svc.db.postgresql_overdue import BACKEND
from operator_svc.models import Backend

log = structlog.get_logger(__name__)

_APPLICATION = "operator-svc bus"
_CLOSE_SECONDS = 2.0
ANSWER_SECONDS = 2.0
"""Longest wait for the server to take a notification: meanwhile no text of any reply is stored."""
_NOTIFY = "SELECT pg_notify($1, p) FROM unnest(CAST($2 AS text[])) AS p"


class PostgresqlListener:
    """See Listener."""

    def __init__(
        self,
        dsn: str,
        channels: Sequence[str],
        on_notification: Callable[[str, str], None],
        on_lost: Callable[[], None],
        seconds: float,
    ) -> None:
        self._connector = Connector(dsn, _APPLICATION)
        self._channels = tuple(channels)
        self._on_notification = on_notification
        self._on_lost = on_lost
        self._seconds = seconds
        self._connection: asyncpg.Connection | None = None
        self._backend: Backend | None = None
        self._turn = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """See Listener.is_open."""
        return self._connection is not None

    @property
    def backend(self) -> Backend | None:
        """See Listener.backend."""
        return self._backend if self._connection is not None else None

    async def open(self) -> None:
        """See Listener.open."""
        if self._connection is not None:
            return
        try:
            async with asyncio.timeout(self._seconds):
                connection = await self._connect()
        except Exception as error:
            raise refused(error) from error
        self._connection = connection
        connection.add_termination_listener(self._terminated)
        if connection.is_closed():  # it may have been lost before we listened for that
            self._terminated(connection)

    async def _connect(self) -> asyncpg.Connection:
        connection = await self._connector.open(self._seconds)
        try:
            for channel in self._channels:
                await connection.add_listener(channel, self._heard)
            self._backend = Backend(*await connection.fetchrow(BACKEND))
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _heard(self, _connection: Any, _pid: int, channel: str, payload: str) -> None:
        self._on_notification(channel, payload)

    def _terminated(self, connection: Any) -> None:
        if connection is self._connection:
            self._connection = None
            self._on_lost()

    async def notify(self, channel: str, *payloads: str) -> None:
        """See Listener.notify."""
        await self._execute(_NOTIFY, channel, payloads)

    async def check(self) -> None:
        """See Listener.check."""
        if await self._execute(READ_ONLY) != [("off",)] and (connection := self._connection):
            # A primary that was demoted in place: nobody notifies here any more.
            connection.terminate()
            self._terminated(connection)
            raise unavailable()

    async def _execute(self, sql: str, *args: str | Sequence[str]) -> list[tuple[Any, ...]]:
        async with self._turn:
            connection = self._connection
            if connection is None:
                raise unavailable()
            seconds = min(self._seconds, ANSWER_SECONDS)
            try:
                rows = await connection.fetch(sql, *args, timeout=seconds)
            except BaseException as error:
                closed = connection.is_closed()
                if closed or not isinstance(error, asyncpg.PostgresError):
                    # A silent server, or a statement that was left half way: start anew.
                    connection.terminate()
                    self._terminated(connection)
                if isinstance(error, Exception):
                    raise translated(error, closed=is_lost(error, closed)) from error
                raise
            return [tuple(row) for row in rows]

    async def aclose(self) -> None:
        """See Listener.aclose."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close(timeout=_CLOSE_SECONDS)
        except Exception as error:  # whatever it was, the connection is gone
            log.debug("a connection was cut", error=repr(error))
            connection.terminate()
