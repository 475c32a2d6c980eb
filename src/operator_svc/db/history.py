"""The history of a database: which line of commits it is on."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import structlog

from operator_svc.db.contract import Database
from operator_svc.models import DatabaseHistory

log = structlog.get_logger(__name__)

UNSEEN_SECONDS = 60.0
"""Seconds without a process on the database after which it counts as another one: a copy that is
put in its place is older than that, and a restart or a switch-over quicker."""


class KnownHistory:
    """The history that was seen last, and who wants to know of another.

    ``server`` is the server's own name for it, empty where there is none, and ``mark`` is the
    one in the database, empty before ``keep``.
    """

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []
        self.server = ""
        self.mark = ""

    @property
    def value(self) -> str:
        """See Database.history."""
        return f"{self.server}/{self.mark}" if self.server or self.mark else ""

    @property
    def timeline(self) -> int | None:
        """The number of PostgreSQL's timeline that the server's name ends with, if it has one."""
        return int(self.server.rpartition("/")[2], 16) if self.server else None

    def on_change(self, callback: Callable[[], None]) -> None:
        """See Database.on_new_history."""
        self._callbacks.append(callback)

    def note_server(self, server: str) -> None:
        """Take the server's name for its history, and tell of a change."""
        before, self.server = self.server, server
        if before not in ("", server):
            self._tell("the database was switched over")

    async def keep(self, database: Database) -> None:
        """Note in the database that it is in use, and take its mark from it: another one where
        nobody has done so for ``UNSEEN_SECONDS``. A machine that slept and a clock that was set
        look like a restore, and are taken for one. Raises what a write raises."""
        rows = await database.write(
            "history_keep",
            DatabaseHistory,
            fresh=str(uuid.uuid4()),
            server=self.server,
            unseen=UNSEEN_SECONDS,
        )
        before, self.mark = self.mark, rows[0].id if rows else ""
        if before not in ("", self.mark):
            self._tell("the database was restored, or its clock jumped")

    def _tell(self, event: str) -> None:
        log.warning(event, history=self.value)
        for callback in self._callbacks:
            callback()
