"""Migrations of databases that others hold, that do not answer, or that cannot be made."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from operator_svc.db import Database, migrations_yoyo
from operator_svc.db.locations import locate
from operator_svc.db.lockfile import FileLock, private_file
from operator_svc.db.migrations import ensure, migrate
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.settings import Settings
from tests.db.schemas import folder_of, sql


async def test_a_server_that_has_the_file_keeps_it(
    sqlite_database: Database, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations_yoyo, "FILE_LOCK_SECONDS", 0.2)
    with pytest.raises(ConfigurationError, match="in use by another process"):
        migrate(sqlite_url)
    await sqlite_database.ping()


async def test_one_who_migrates_waits_for_the_file(sqlite_url: str) -> None:
    path = locate(sqlite_url).path
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    lock.acquire()
    waiting = asyncio.create_task(asyncio.to_thread(migrate, sqlite_url))
    await asyncio.sleep(0.3)  # time in which it would migrate
    assert not waiting.done()
    lock.release()
    assert await waiting == []


async def test_a_database_that_does_not_answer_is_a_temporary_error(tmp_path: Path) -> None:
    url = f"postgresql://postgres@/x?host={tmp_path}"
    with pytest.raises(OperatorError) as caught:
        migrate(url)
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    with pytest.raises(OperatorError):
        await ensure(Settings(database_url=url))


@pytest.mark.parametrize(
    ("number", "passes"), [(errno.ENOSPC, True), (errno.EIO, True), (errno.EROFS, False)]
)
def test_a_file_that_cannot_be_made_tells_what_may_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, passes: bool
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OperatorError if passes else ConfigurationError, match=os.strerror(number)):
        private_file(tmp_path / "operator.db")


@pytest.mark.parametrize("url", ["postgresql://x@127.0.0.1:99999/y", "postgresql://x@a:b/y"])
async def test_a_port_that_is_none_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="PostgreSQL: "):
        await ensure(Settings(database_url=url))


@pytest.mark.parametrize("head", ["", "-- transactional: false\n"])
async def test_settings_of_the_database_neither_bound_a_migration_nor_change_its_meaning(
    empty_postgresql_url: str, tmp_path: Path, head: str
) -> None:
    name = empty_postgresql_url.partition("@/")[2].partition("?")[0]
    for setting in (
        "statement_timeout = '1s'",
        "transaction_timeout = '1s'",
        "idle_session_timeout = '1s'",
        "idle_in_transaction_session_timeout = '1s'",
        "default_transaction_isolation = serializable",
        "standard_conforming_strings = off",
        "client_encoding = 'SQL_ASCII'",
        "DateStyle = 'SQL, DMY'",
    ):
        await sql(empty_postgresql_url, f"ALTER DATABASE {name} SET {setting}")
    slow = "SELECT pg_sleep(1.1); CREATE TABLE one AS SELECT length('\\(') AS escaped;"
    folder = folder_of(tmp_path, _0001_slow=head + slow)
    assert migrate(empty_postgresql_url, folder) == ["0001.slow"]
    assert await sql(empty_postgresql_url, "SELECT escaped FROM one") == [(2,)]


async def test_a_database_that_takes_no_writes_is_a_temporary_error(
    empty_postgresql_url: str,
) -> None:
    name = empty_postgresql_url.partition("@/")[2].partition("?")[0]
    await sql(empty_postgresql_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(OperatorError, match="read-only") as caught:
        migrate(empty_postgresql_url)
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE


TRIED = "CREATE SEQUENCE tries"
FAILS_TWICE = """DO $$ BEGIN
    IF nextval('tries') < 3 THEN
        RAISE EXCEPTION 'others were first' USING ERRCODE = '{}';
    END IF;
END $$"""


@pytest.mark.parametrize("code", ["55P03", "40P01", "40001"])
async def test_a_migration_that_was_undone_because_of_others_is_tried_again(
    empty_postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(migrations_yoyo, "PAUSE_SECONDS", 0.0)
    folder = folder_of(tmp_path, _0001_tried=TRIED, _0002_fails=FAILS_TWICE.format(code))
    assert migrate(empty_postgresql_url, folder) == ["0001.tried", "0002.fails"]


@pytest.mark.parametrize("code", ["25006", "53100", "57014", "58030"])
async def test_a_state_of_the_server_that_passes_is_a_temporary_error(
    empty_postgresql_url: str, tmp_path: Path, code: str
) -> None:
    folder = folder_of(tmp_path, _0001_tried=TRIED, _0002_fails=FAILS_TWICE.format(code))
    with pytest.raises(OperatorError, match=r"0002\.fails failed.*others were first"):
        migrate(empty_postgresql_url, folder)
