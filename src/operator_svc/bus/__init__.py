"""News between pods: which sessions have something new.

Only ids travel. What is new is read from the database by those who want to know, so a
notification that is lost costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, TypeAlias

from operator_svc.bus.local import LocalBus
from operator_svc.bus.postgresql import PostgresqlBus
from operator_svc.db import Database
from operator_svc.settings import Settings

OnNews: TypeAlias = Callable[[Collection[str] | None], None]
"""Called with the sessions that another pod has news of; None where it may be any."""


class Bus(Protocol):
    """Tells the other pods, and hears them."""

    shared: bool

    async def open(self, on_news: OnNews) -> None:
        """Begin to hear."""

    def announce(self, session_id: str) -> None:
        """A session has news; said with the next ``flush``."""

    async def flush(self) -> None:
        """Say what was announced since, in at most one notification."""

    async def aclose(self) -> None:
        """Say what is left, and hear no more."""


def make_bus(settings: Settings, database: Database) -> Bus:
    """The bus of this database: SQLite serves one process, which needs none."""
    return PostgresqlBus(settings) if database.dialect == "postgresql" else LocalBus()


__all__ = ["Bus", "LocalBus", "OnNews", "PostgresqlBus", "make_bus"]
