"""The history of a PostgreSQL database: which line of commits it is on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import asyncpg  # type: ignore[import-untyped]
import structlog

log = structlog.get_logger(__name__)

HISTORY = """
    SELECT s.system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
    FROM pg_control_system() AS s
"""
"""The server's system identifier and timeline: a standby that is promoted begins a new timeline,
and a server that was restored from a dump has another identifier."""
UNKNOWN_HISTORY = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedFunctionError,
    asyncpg.FeatureNotSupportedError,
)
"""The server does not tell. A lost commit is noticed then only where a log stands behind what was
shown."""


class History:
    """The history that connections have seen last, and who wants to know of another."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []
        self.value = ""

    @property
    def known(self) -> bool:
        """True where the server has told it."""
        return bool(self.value)

    def on_change(self, callback: Callable[[], None]) -> None:
        """See Database.on_new_history."""
        self._callbacks.append(callback)

    def note(self, rows: Sequence[Sequence[str]]) -> None:
        """Take what a connection answered to ``HISTORY``, and tell of a change."""
        before, self.value = self.value, rows[0][0]
        if before not in ("", self.value):
            log.warning("the database was switched over or restored", history=self.value)
            for callback in self._callbacks:
                callback()
