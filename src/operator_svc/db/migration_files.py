"""The migrations that this code knows, by the names of their files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from operator_svc.db.contract import Dialect
from operator_svc.db.queries import resource_folder
from operator_svc.errors import ConfigurationError


def migration_ids(dialect: Dialect, folder: Path | None = None) -> list[str]:
    """Their ids, in order."""
    files = (folder or resource_folder("migrations")).joinpath(dialect).glob("*.sql")
    return sorted(file.stem for file in files if not file.name.endswith(".rollback.sql"))


SERVES_FROM_SINCE = "0006.oldest_code"
"""The migration that made the table of the oldest code that the schema serves."""


def pending(
    applied: Collection[str],
    dialect: Dialect,
    folder: Path | None = None,
    serves_from: str | None = None,
) -> list[str]:
    """The migrations that a database with ``applied`` lacks.

    It may have more than this code knows, if a newer version has migrated it and it still
    ``serves_from`` this one's last or an earlier one. Raises ConfigurationError where not.
    """
    known = migration_ids(dialect, folder)
    if unknown := sorted(set(applied) - set(known)):
        newer = f"the database is newer than this version: it has the migration {unknown[-1]}"
        if serves_from is None:
            raise ConfigurationError([newer])
        if serves_from > known[-1]:
            raise ConfigurationError([f"{newer}, and serves versions from {serves_from} on"])
    return [name for name in known if name not in applied]
