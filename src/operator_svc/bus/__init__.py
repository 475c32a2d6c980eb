"""Notifications between pods: which sessions have news, and with NATS the text of replies.

The database is the truth: what is new is read there by those who want to know, so whatever is lost
on the way costs time and nothing else.
"""

from __future__ import annotations

from operator_svc.bus.base import Bus
from operator_svc.bus.listeners import NotificationListener, ReplyPiece
from operator_svc.bus.local import LocalBus
from operator_svc.bus.postgresql import PostgresqlBus
from operator_svc.db import Database
from operator_svc.settings import Settings


def make_bus(settings: Settings, database: Database) -> Bus:
    """The bus of these settings: SQLite serves one process, which needs none, and what NATS needs
    is imported where it is wanted."""
    if database.dialect != "postgresql":
        return LocalBus()
    bus = PostgresqlBus(settings)
    if not settings.bus_url:
        return bus
    from operator_svc.bus.nats import NatsBus

    return NatsBus(settings, bus)


__all__ = ["Bus", "LocalBus", "NotificationListener", "PostgresqlBus", "ReplyPiece", "make_bus"]
