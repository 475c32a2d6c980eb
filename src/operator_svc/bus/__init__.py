"""Notifications between pods: which sessions have news.

Only ids travel. What is new is read from the database by those who want to know, so a
notification that is lost costs time and nothing else.
"""

from __future__ import annotations

from typing import Protocol

from operator_svc.bus.listeners import NotificationListener
from operator_svc.bus.local import LocalBus
from operator_svc.bus.postgresql import PostgresqlBus
from operator_svc.db import Database
from operator_svc.models import Backend
from operator_svc.settings import Settings


class Bus(Protocol):
    """Notifies the other pods, and hears them. ``shared`` says whether there can be others."""

    shared: bool

    @property
    def backend(self) -> Backend | None:
        """The database session that it hears by, which ends with this process; None without."""

    async def open(self, *listeners: NotificationListener) -> None:
        """Begin to hear notifications. Raises OperatorError(database_unavailable)."""

    def notify(self, session_id: str) -> None:
        """A session has news; the other pods hear of it with the next ``flush``."""

    async def flush(self) -> None:
        """Notify of all sessions with news since the last time."""

    async def aclose(self) -> None:
        """Send what is left, and hear no more."""


def make_bus(settings: Settings, database: Database) -> Bus:
    """The bus of this database: SQLite serves one process, which needs none."""
    return PostgresqlBus(settings) if database.dialect == "postgresql" else LocalBus()


__all__ = ["Bus", "LocalBus", "NotificationListener", "PostgresqlBus", "make_bus"]
