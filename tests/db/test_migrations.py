"""Migrations: forward and back on both engines, and what a start makes of them."""

from __future__ import annotations

import asyncio
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.db.locations import locate
from operator_svc.db.migration_files import SERVES_FROM_SINCE, migration_ids, pending
from operator_svc.db.migrations import at_head, ensure, migrate, rollback
from operator_svc.errors import ConfigurationError
from operator_svc.settings import Settings
from tests.db.schemas import TABLES, folder_of, ours, shape, sql
from tests.rest.rest_service import running


async def test_forward_back_and_forward_again(empty_database_url: str) -> None:
    dialect = locate(empty_database_url).dialect
    known = migration_ids(dialect)
    assert known
    assert migrate(empty_database_url) == known
    made = await shape(empty_database_url)
    assert "operator_session" in made
    assert migrate(empty_database_url) == []
    assert rollback(empty_database_url, 1) == known[-1:]
    assert rollback(empty_database_url, 2) == known[-2:-4:-1]
    if dialect == "postgresql":  # on SQLite, and of the data, some change nothing
        assert await shape(empty_database_url) != made
    assert rollback(empty_database_url, 1000) == known[-4::-1]
    assert await shape(empty_database_url) == set()
    assert migrate(empty_database_url) == known
    assert await shape(empty_database_url) == made


def test_both_dialects_have_the_same_migrations_and_ways_back() -> None:
    assert migration_ids("sqlite") == migration_ids("postgresql")
    root = Path(__file__).parents[2] / "migrations"
    for dialect in TABLES:
        for name in migration_ids("sqlite"):
            assert (root / dialect / f"{name}.rollback.sql").exists()


async def test_a_start_migrates_once_in_a_process_of_its_own(empty_database_url: str) -> None:
    settings = Settings(database_url=empty_database_url)
    known = migration_ids(locate(empty_database_url).dialect)
    assert await ensure(settings) == known
    assert await ensure(settings) == []
    assert await ensure(Settings(database_url=empty_database_url, migrate="off")) == []


async def test_the_drivers_of_migrations_stay_out_of_the_server(empty_sqlite_url: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from operator_svc.db.migrations import ensure\n"
        "from operator_svc.settings import Settings\n"
        f"print(asyncio.run(ensure(Settings(database_url={empty_sqlite_url!r}))))\n"
        "assert not {'yoyo', 'psycopg', 'asyncpg', 'sqlparse'} & set(sys.modules)\n"
    )
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=True, timeout=200)


async def test_switched_off_and_behind_refuses_to_start(empty_database_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"lacks 0001\..*run operator-svc migrate"):
        await ensure(Settings(database_url=empty_database_url, migrate="off"))
    assert await ours(empty_database_url) == set()


async def test_a_newer_database_that_serves_this_version_is_started_on(database_url: str) -> None:
    await sql(database_url, "INSERT INTO _yoyo_migration VALUES ('x', '9999.future', NULL)")
    assert await ensure(Settings(database_url=database_url)) == []
    assert await ensure(Settings(database_url=database_url, migrate="off")) == []
    assert migrate(database_url) == []
    async with running(database_url) as service:
        assert (await service.chat("hello"))["metadata"]["status"] == "ok"
    with pytest.raises(ConfigurationError, match=r"newer than this version.*9999\.future"):
        rollback(database_url, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE operator_schema SET serves_from = '9998.contract'", "versions from 9998.contract"),
        ("DELETE FROM operator_schema", ""),
    ],
)
async def test_a_newer_database_that_serves_no_older_version_refuses_to_start(
    database_url: str, change: str, reason: str
) -> None:
    await sql(database_url, "INSERT INTO _yoyo_migration VALUES ('x', '9999.future', NULL)")
    await sql(database_url, change)
    newer = f"newer than this version.*9999.future.*{reason}"
    with pytest.raises(ConfigurationError, match=newer):
        await ensure(Settings(database_url=database_url))
    with pytest.raises(ConfigurationError, match=newer):
        migrate(database_url)
    with pytest.raises(ConfigurationError, match=r"newer than this version.*9999\.future"):
        rollback(database_url, 1)


async def test_a_running_process_is_ready_while_a_newer_one_migrates(database: Database) -> None:
    assert await at_head(database)
    async with database.transaction() as transaction:
        await transaction.execute("INSERT INTO _yoyo_migration VALUES ('x', '9999.future', NULL)")
    assert await at_head(database)
    async with database.transaction() as transaction:
        await transaction.execute(
            "DELETE FROM _yoyo_migration WHERE migration_id = :head",
            head=migration_ids(database.dialect)[-1],
        )
    assert not await at_head(database)


def test_a_migration_that_takes_something_away_says_whom_it_serves() -> None:
    root = Path(__file__).parents[2] / "migrations"
    taking = re.compile(r"\b(DROP (TABLE|COLUMN)|RENAME|ALTER COLUMN)\b", re.IGNORECASE)
    for_later = re.compile(r"CREATE (OR REPLACE )?FUNCTION\b.*?\$\$.*?\$\$", re.DOTALL)
    for dialect in TABLES:
        for name in migration_ids("sqlite"):
            text = for_later.sub("", (root / dialect / f"{name}.sql").read_text())
            if name > SERVES_FROM_SINCE and taking.search(text):
                assert "UPDATE operator_schema SET serves_from" in text, (dialect, name)


def test_what_is_pending_keeps_its_order(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, _0002_b="SELECT 1", _0001_a="SELECT 1", _0003_c="SELECT 1")
    assert pending(["0002.b"], "sqlite", folder) == ["0001.a", "0003.c"]


@pytest.mark.parametrize("more", ["&sslmode=prefer", "&sslmode=disable&connect_timeout=3"])
def test_parameters_of_libpq_are_understood(empty_postgresql_url: str, more: str) -> None:
    with_password = empty_postgresql_url.replace("postgres@", "postgres:p%40s%3As@")
    assert migrate(with_password + more)


def test_a_user_without_a_name_can_migrate(
    empty_sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless(_uid: int) -> Any:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nameless)
    assert migrate(empty_sqlite_url)
