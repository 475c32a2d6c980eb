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


def pending(applied: Collection[str], dialect: Dialect, folder: Path | None = None) -> list[str]:
    """The migrations that a database with ``applied`` lacks.

    Raises ConfigurationError where it has one that this code does not know: a newer version
    has migrated it.
    """
    known = migration_ids(dialect, folder)
    if unknown := sorted(set(applied) - set(known)):
        raise ConfigurationError(
            [f"the database is newer than this version: it has the migration {unknown[-1]}"]
        )
    return [name for name in known if name not in applied]
