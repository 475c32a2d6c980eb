"""Schema migrations, by yoyo: ``migrations/<dialect>/NNNN.name.sql`` with ``.rollback.sql``.

yoyo and psycopg cost 11 MiB, so a server runs them in a process of their own
(``python -m operator_svc.db.migrations``), and asks the version table itself whether it must.

yoyo's lock is a committed row: after a SIGKILL nobody could migrate again. So the session that
migrates first takes a lock that ends with it (``pg_advisory_lock``; the file lock of SQLite), and
then breaks yoyo's. yoyo also commits a migration before it marks it; here both are one
transaction, so a kill in between leaves nothing half done.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import structlog

from operator_svc.db import check_urls, connect
from operator_svc.db.contract import Database, Dialect, unavailable
from operator_svc.db.locations import URL_SETTING, locate
from operator_svc.db.lockfile import check_usable
from operator_svc.db.migration_files import migration_ids, pending
from operator_svc.db.queries import resource_folder
from operator_svc.db.sqlite_groups import applied_migrations, serves_from, translated
from operator_svc.errors import EXIT_TEMPORARY, ConfigurationError, OperatorError
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)


class SchemaVersion(NamedTuple):
    """The migrations that a database has, and the oldest code that it says it serves."""

    applied: frozenset[str]
    serves_from: str | None

    def pending(self, dialect: Dialect, folder: Path | None) -> list[str]:
        """The migrations that this code needs and the database lacks."""
        return pending(self.applied, dialect, folder, self.serves_from)


ReadSchema: TypeAlias = Callable[[], Awaitable[SchemaVersion]]
"""Reads the schema that a database has now."""


async def at_head(database: Database, folder: Path | None = None) -> bool:
    """True where ``database`` has all migrations that this code needs. It may have more: a process
    keeps serving while a newer version is rolled out."""
    applied = await database.applied_migrations()
    return applied.issuperset(migration_ids(database.dialect, folder))


def migrate(url: str, folder: Path | None = None) -> list[str]:
    """Apply pending migrations in this process; returns their ids.

    Waits for another process that is migrating. Raises ConfigurationError where a migration
    fails, the database is newer than the code, or another process has the SQLite file, and
    OperatorError(DATABASE_UNAVAILABLE) where the database does not answer.
    """
    from operator_svc.db import migrations_yoyo

    return migrations_yoyo.migrate(locate(url), folder or resource_folder("migrations"))


def rollback(url: str, count: int, folder: Path | None = None) -> list[str]:
    """Take the newest ``count`` migrations back, in this process; their ids. Raises as migrate."""
    from operator_svc.db import migrations_yoyo

    return migrations_yoyo.rollback(locate(url), folder or resource_folder("migrations"), count)


async def connect_up_to_date(settings: Settings) -> Database:
    """Open the database for serving, and bring it up to date if it is not.

    PostgreSQL is asked on a connection that then serves. SQLite's file is opened last: whoever
    migrates must have it alone. Raises as ``ensure`` and ``connect``.
    """
    check_urls(settings)
    if locate(settings.database_url).dialect == "sqlite":
        await ensure(settings)
        return await connect(settings)
    database = await connect(settings)
    try:
        await _ensure(settings, partial(_schema_of, database), None)
    except BaseException:
        await database.aclose()
        raise
    return database


async def ensure(settings: Settings, folder: Path | None = None) -> list[str]:
    """Bring the database up to date, if it is not; the ids applied.

    Raises as migrate, and ConfigurationError where it is behind and ``OPERATOR_MIGRATE`` is off.
    """
    location = locate(settings.database_url)
    if location.dialect == "sqlite":
        check_usable(location.path)

        async def read() -> SchemaVersion:
            # No thread for this: nothing else runs yet, and its memory would stay.
            return _schema_of_file(location.path)

        return await _ensure(settings, read, folder)
    database = await connect(settings)
    try:
        return await _ensure(settings, partial(_schema_of, database), folder)
    finally:
        await database.aclose()


async def _ensure(settings: Settings, read: ReadSchema, folder: Path | None) -> list[str]:
    dialect = locate(settings.database_url).dialect
    missing = (await read()).pending(dialect, folder)
    if not missing:
        return []
    if settings.migrate == "off":
        raise ConfigurationError(
            [f"the database lacks {', '.join(missing)}: run operator-svc migrate"]
        )
    log.info("migrating", migrations=missing)
    await _in_a_process(settings.sessions_url, folder)
    if left := (await read()).pending(dialect, folder):
        raise ConfigurationError([f"the database still lacks {', '.join(left)}"])
    return missing


async def check_reachable(settings: Settings) -> None:
    """Check that the database can be used, with the errors of a server's start, before migrating.

    libpq does not tell a refused password from a server that is away. Raises ConfigurationError
    and OperatorError(DATABASE_UNAVAILABLE).
    """
    location = locate(settings.sessions_url)
    if location.dialect == "sqlite":
        check_usable(location.path)
        return
    from operator_svc.db.postgresql_pooler import needs_transactions

    await needs_transactions(location.dsn, settings.db_timeout, direct=False)


async def _schema_of(database: Database) -> SchemaVersion:
    return SchemaVersion(await database.applied_migrations(), await database.serves_from())


def _schema_of_file(path: Path) -> SchemaVersion:
    if not path.exists():
        return SchemaVersion(frozenset(), None)
    try:
        with closing(sqlite3.connect(path)) as raw:
            return SchemaVersion(applied_migrations(raw), serves_from(raw))
    except sqlite3.Error as error:
        known = translated(error)
        if isinstance(known, OperatorError):
            raise known from error
        raise ConfigurationError([f"{path} cannot be used as a database: {error}"]) from error


async def _in_a_process(url: str, folder: Path | None) -> None:
    arguments = [] if folder is None else [str(folder)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        *arguments,
        env={**os.environ, URL_SETTING: url},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,  # the server's own has one JSON object a line
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    lines = said.decode(errors="replace").splitlines()
    if process.returncode == EXIT_TEMPORARY:
        raise unavailable(lines[-1] if lines else "the database cannot be migrated now")
    if process.returncode:
        raise ConfigurationError(lines or [f"migrating ended with {process.returncode}"])


def main() -> None:
    """Migrate the database of ``OPERATOR_DATABASE_URL``; an argument is another folder."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    try:
        migrate(os.environ[URL_SETTING], folder)
    except ConfigurationError as error:
        sys.exit("\n".join(error.problems))
    except OperatorError as error:
        sys.stderr.write(f"{error.detail}\n")
        sys.exit(EXIT_TEMPORARY)


if __name__ == "__main__":
    main()
