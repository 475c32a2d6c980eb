"""Bringing VX11's legacy database in.

All of it is one transaction of the target: it is there as a whole, or nothing is. No events are
made: sessions that were adopted begin to count when something happens in them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from operator_svc.adopt.adjustments import adopt_adjustments
from operator_svc.adopt.browser_tasks import adopt_tasks
from operator_svc.adopt.columns import NUMBERED
from operator_svc.adopt.id_map import open_id_map
from operator_svc.adopt.legacy_file import TABLES, LegacyDatabase, open_legacy
from operator_svc.adopt.legacy_rows import FEEDBACK, MAX_KEPT_ID
from operator_svc.adopt.messages import adopt_messages
from operator_svc.adopt.report import Report
from operator_svc.adopt.run import Progress, Run
from operator_svc.adopt.sessions import adopt_sessions
from operator_svc.adopt.target import AdoptionStore, reserve_ids, take_turn
from operator_svc.adopt.tool_calls import adopt_tool_calls
from operator_svc.db import ConstraintViolation, Database, Transaction, connect, migrations
from operator_svc.db.locations import Location, locate
from operator_svc.db.lockfile import FileLock, lock_path
from operator_svc.db.migration_files import pending
from operator_svc.errors import ConfigurationError
from operator_svc.settings import Settings
from operator_svc.stores.sessions import SessionStore

STATEMENT_SECONDS = 120.0
"""Seconds that one statement may take at least: nobody waits for an answer here."""

_CHANGED = 2000
"""Sessions that are changed at a time."""


async def adopt(settings: Settings, path: Path, *, dry_run: bool, progress: Progress) -> Report:
    """Bring the legacy database at ``path`` into the one of the settings, which is migrated first.

    A dry run writes nothing, and reports what would be done. Raises ConfigurationError where the
    legacy file cannot be read or is none of VX11's, or where the target is in use (SQLite), and
    OperatorError(DATABASE_UNAVAILABLE) where the target does not answer; then nothing was done.
    """
    location = locate(settings.database_url)
    with open_legacy(path) as legacy, open_id_map() as id_map:
        if location.dialect == "sqlite" and _is_same(path, location.path):
            raise ConfigurationError([f"{path} is the target itself"])
        open_target = _dry_target if dry_run else _target
        highest = _highest_ids(legacy)
        async with open_target(settings, location, highest) as store:
            for table in NUMBERED:
                await store.number_from(table, highest[table])
            run = Run(legacy, store, id_map, progress)
            await _adopt_all(run)
            legacy.check_unchanged()
        return run.report


async def _adopt_all(run: Run) -> None:
    await run.identify()
    await adopt_sessions(run)
    await adopt_messages(run)
    await adopt_tool_calls(run)
    await adopt_tasks(run)
    await adopt_adjustments(run)
    # The sessions that others write to come last: until here nobody waits for this transaction.
    for joins in run.id_map.joins(_CHANGED):
        await run.store.join_sessions(joins)
    for counts in run.id_map.counts(_CHANGED):
        await run.store.count_messages(counts)


def _highest_ids(legacy: LegacyDatabase) -> dict[str, int]:
    highest = {table: legacy.highest_id(table, MAX_KEPT_ID) for table in TABLES}
    # Tool calls and changes may name messages that are missing, and bring them back by their ids.
    highest["operator_message"] = max(
        highest["operator_message"], legacy.highest_message_named(MAX_KEPT_ID)
    )
    return highest | {FEEDBACK: 0}


def _is_same(path: Path, target: Path) -> bool:
    return target.exists() and path.samefile(target)


# Targets.


@asynccontextmanager
async def _target(
    settings: Settings, location: Location, highest: Mapping[str, int]
) -> AsyncIterator[AdoptionStore]:
    if location.dialect == "sqlite":
        # Migrating waits for another process; one that serves does not give the file back.
        lock = FileLock(lock_path(location.path))
        lock.acquire()
        lock.release()
    await migrations.check_reachable(settings)
    await asyncio.to_thread(migrations.migrate, settings.sessions_url)
    database = await connect(_for_one_transaction(settings))
    try:
        await _finish_deletions(database)
        async with database.transaction() as transaction:
            if not await take_turn(transaction, database.dialect):
                raise ConfigurationError(["somebody else is adopting into this database"])
            await reserve_ids(database, highest)
            yield AdoptionStore(transaction, database.dialect)
    except ConstraintViolation as error:
        raise ConfigurationError(
            [f"the target refused a row ({error}); nothing was brought in"]
        ) from error
    finally:
        await database.aclose()


async def _finish_deletions(database: Database) -> None:
    """Delete the rows that are left of deleted sessions, so that their ids are free again."""
    sessions = SessionStore(database)
    while await sessions.delete_piece():
        pass


@asynccontextmanager
async def _dry_target(
    settings: Settings, location: Location, highest: Mapping[str, int]
) -> AsyncIterator[AdoptionStore]:
    if location.dialect == "sqlite" and not location.path.exists():
        yield AdoptionStore(_EmptyTarget(), location.dialect, dry=True)
        return
    database = await connect(_for_one_transaction(settings))
    try:
        if await _is_ready(database):
            async with database.transaction() as transaction:
                yield AdoptionStore(transaction, database.dialect, dry=True)
        else:
            yield AdoptionStore(_EmptyTarget(), database.dialect, dry=True)
    finally:
        await database.aclose()


async def _is_ready(database: Database) -> bool:
    """True where the target has its tables, False where it is empty."""
    applied = await database.applied_migrations()
    if applied and pending(applied, database.dialect):
        raise ConfigurationError(
            ["the target has an older schema: run operator-svc migrate before a dry run"]
        )
    return bool(applied)


def _for_one_transaction(settings: Settings) -> Settings:
    """The way to the target: past a pooler, with time for long statements, and with a connection
    beside that of the transaction, for the reservation of ids."""
    return msgspec.structs.replace(
        settings,
        database_url=settings.sessions_url,
        db_pool_size=2,
        db_timeout=max(settings.db_timeout, STATEMENT_SECONDS),
    )


class _EmptyTarget(Transaction):
    """A target that has nothing yet."""

    async def execute(self, sql: str, /, **params: Any) -> int:
        return 0

    async def executemany(self, sql: str, rows: Iterable[Mapping[str, Any]], /) -> None:
        return None

    async def fetch(self, sql: str, /, **params: Any) -> list[tuple[Any, ...]]:
        return []
