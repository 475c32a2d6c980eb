"""The databases: PostgreSQL and SQLite behind one interface, and the named queries they run.

Nothing above this package imports a driver. A driver is imported when its engine is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from operator_svc.db.contract import (
    DIALECTS,
    AsJson,
    ConstraintViolation,
    Database,
    Dialect,
    Listener,
    Nothing,
    PassedOver,
    Reads,
    Replica,
    Transaction,
)
from operator_svc.db.locations import POSTGRESQL, locate
from operator_svc.db.queries import installed, load
from operator_svc.errors import ConfigurationError
from operator_svc.settings import Settings

__all__ = [
    "DIALECTS",
    "AsJson",
    "ConstraintViolation",
    "Database",
    "Dialect",
    "Listener",
    "Nothing",
    "PassedOver",
    "Reads",
    "Replica",
    "Transaction",
    "check_urls",
    "connect",
    "listener",
    "replica",
]


async def connect(settings: Settings, *, queries: Path | None = None) -> Database:
    """Open the database of the settings; ``queries`` is another folder than the package's own.

    Raises ConfigurationError where the settings are wrong (SQLite: also where another process
    has the file) and OperatorError(DATABASE_UNAVAILABLE) where PostgreSQL does not answer.
    """
    check_urls(settings)
    location = locate(settings.database_url)
    known = load(queries, location.dialect) if queries else installed(location.dialect)
    if location.dialect == "sqlite":
        from operator_svc.db.sqlite import SqliteDatabase

        return await SqliteDatabase.open(
            location.path, known, readers=settings.db_pool_size, seconds=settings.db_timeout
        )
    from operator_svc.db.postgresql import PostgresqlDatabase

    return await PostgresqlDatabase.open(
        location.dsn,
        known,
        size=settings.db_pool_size,
        seconds=settings.db_timeout,
        direct=locate(settings.sessions_url).dsn if settings.database_direct_url else "",
    )


def check_urls(settings: Settings) -> None:
    """Raise ConfigurationError where the addresses of the database cannot be used together."""
    dialect = locate(settings.database_url).dialect
    others = {
        "OPERATOR_DATABASE_DIRECT_URL": settings.database_direct_url,
        "OPERATOR_DATABASE_READ_URL": settings.database_read_url,
    }
    problems = [
        f"{name} must be postgresql://…, and so must OPERATOR_DATABASE_URL"
        for name, url in others.items()
        if url and not (dialect == "postgresql" and url.startswith(POSTGRESQL))
    ]
    if dialect == "sqlite" and settings.workers > 1:
        problems.append("OPERATOR_WORKERS: SQLite serves one process; several need PostgreSQL")
    if problems:
        raise ConfigurationError(problems)


def replica(settings: Settings, database: Database) -> Replica | None:
    """The standby of ``database`` that the settings name; None where they name none.

    Nothing is connected yet: it may be away. Raises ConfigurationError for a malformed URL.
    """
    if not settings.database_read_url:
        return None
    from operator_svc.db.postgresql import PostgresqlDatabase
    from operator_svc.db.postgresql_replica import PostgresqlReplica

    assert isinstance(database, PostgresqlDatabase), "check_urls has refused others"
    dsn = locate(settings.database_read_url).dsn
    return PostgresqlReplica(dsn, database, settings.db_pool_size)


def listener(
    settings: Settings,
    channels: Sequence[str],
    on_notification: Callable[[str, str], None],
    on_lost: Callable[[], None],
) -> Listener:
    """A listener on ``channels`` of the settings' PostgreSQL database, not open yet.

    ``on_notification(channel, payload)`` and ``on_lost()`` are called from the event loop and
    must not block; a loss is reported once for each time that it was open.
    Raises ConfigurationError for SQLite, which no other process shares.
    """
    location = locate(settings.sessions_url)
    if location.dialect != "postgresql":
        raise ConfigurationError(["notifications between processes need PostgreSQL"])
    from operator_svc.db.postgresql_listen import PostgresqlListener

    return PostgresqlListener(location.dsn, channels, on_notification, on_lost, settings.db_timeout)
