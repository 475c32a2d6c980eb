"""Schemas for the tests of migrations: what a database has, and folders of migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operator_svc.db import connect
from operator_svc.db.locations import locate
from operator_svc.settings import Settings

TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'",
    "postgresql": "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace",
}


async def sql(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement on the database, as the service would open it."""
    database = await connect(Settings(database_url=url))
    try:
        async with database.transaction() as transaction:
            return await transaction.fetch(statement)
    finally:
        await database.aclose()


COLUMNS = {
    "postgresql": "SELECT table_name || '.' || column_name || ' ' || data_type"
    " || ' ' || is_nullable FROM information_schema.columns WHERE table_schema = 'public'",
    "sqlite": "SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\""
    " FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
    " WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'",
}
"""Each column with its type and whether it may be null."""

RULES = {
    "postgresql": "SELECT conrelid::regclass || '.' || conname || ' ' || pg_get_constraintdef(oid)"
    " FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0"
    " UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
    " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "sqlite": "SELECT name || sql FROM sqlite_master WHERE type = 'trigger'",
}
"""Each constraint, trigger and function."""


async def ours(url: str) -> set[str]:
    """The names of all that is in the database, without what is yoyo's."""
    rows = await sql(url, TABLES[locate(url).dialect])
    return {name for (name,) in rows if "yoyo" not in name}


async def shape(url: str) -> set[str]:
    """The names of ``ours``, each column with its type, and what holds for the rows."""
    dialect = locate(url).dialect
    rows = [*await sql(url, COLUMNS[dialect]), *await sql(url, RULES[dialect])]
    return await ours(url) | {name for (name,) in rows if "yoyo" not in name}


def folder_of(tmp_path: Path, **texts: str) -> Path:
    """A folder with migrations that are the same for both engines: ``_0001_x="…"``."""
    folder = tmp_path / "migrations"
    for dialect in TABLES:
        (folder / dialect).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            file = name.removeprefix("_").replace("_", ".", 1)
            (folder / dialect / f"{file}.sql").write_text(text)
    return folder
