"""Migrations that run at once, are killed, fail, wait for locks, or lose their connection."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import takewhile
from pathlib import Path

import psycopg
import pytest
from yoyo.backends.base import DatabaseBackend  # type: ignore[import-untyped]

from operator_svc.db import migrations_yoyo
from operator_svc.db.locations import URL_SETTING, locate
from operator_svc.db.migration_files import migration_ids
from operator_svc.db.migrations import ensure, migrate, rollback
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.settings import Settings
from tests.db.schemas import folder_of, ours, shape, sql
from tests.fakes.eventually import WITHIN, eventually

SLOW = {
    "_0001_pace": "CREATE TABLE pace (steps bigint); INSERT INTO pace VALUES (1000000000000);",
    "_0002_slow": """
        CREATE TABLE half (steps bigint);
        WITH RECURSIVE step (i) AS (
            SELECT 1 UNION ALL SELECT i + 1 FROM step WHERE i < (SELECT steps FROM pace)
        ) INSERT INTO half SELECT count(*) FROM step;
        CREATE TABLE whole (steps bigint);
    """,
}
AT_IT = b"""
    SELECT count(*) FROM pg_stat_activity
    WHERE query LIKE '%INTO half%' AND pid <> pg_backend_pid() AND datname = current_database()
"""
END_IT = b"""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE query LIKE '%INTO half%' AND pid <> pg_backend_pid() AND datname = current_database()
"""
WAITING = b"""
    SELECT count(*) FROM pg_stat_activity
    WHERE query LIKE '%pg_try_advisory_lock%' AND state <> 'active'
    AND datname = current_database()
"""


@contextmanager
def migrator(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that migrates."""
    with subprocess.Popen(
        [sys.executable, "-m", "operator_svc.db.migrations", str(folder)],
        env={**os.environ, URL_SETTING: url},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def take_back(url: str) -> list[str]:
    """Take the newest migration back."""
    return rollback(url, 1)


async def test_many_processes_at_once_migrate_once(empty_postgresql_url: str) -> None:
    settings = Settings(database_url=empty_postgresql_url)
    known = migration_ids("postgresql")
    await asyncio.gather(*[ensure(settings) for _ in range(4)])
    log = await sql(empty_postgresql_url, "SELECT migration_id FROM _yoyo_log ORDER BY 1")
    assert [row[0] for row in log] == known


async def test_many_processes_at_once_migrate_a_file_once(empty_sqlite_url: str) -> None:
    await asyncio.gather(*[ensure(Settings(database_url=empty_sqlite_url)) for _ in range(4)])
    log = await sql(empty_sqlite_url, "SELECT migration_id FROM _yoyo_log ORDER BY 1")
    assert [row[0] for row in log] == migration_ids("sqlite")


async def test_a_kill_in_the_middle_leaves_nothing_and_the_next_goes_on_postgresql(
    empty_postgresql_url: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, **SLOW)
    with psycopg.connect(empty_postgresql_url, autocommit=True) as beside:

        def seen(activity: bytes) -> bool:
            return beside.execute(activity).fetchall() == [(1,)]

        with migrator(empty_postgresql_url, folder) as first:
            await eventually(lambda: seen(AT_IT))
            with migrator(empty_postgresql_url, folder) as second:
                await eventually(lambda: seen(WAITING))
                first.send_signal(signal.SIGKILL)
                first.wait(5)
                beside.execute("UPDATE pace SET steps = 1")
                assert second.wait(20) == 0, second.stderr
        assert beside.execute("SELECT steps FROM half").fetchall() == [(1,)]
        log = beside.execute("SELECT migration_id FROM _yoyo_log ORDER BY created_at_utc")
        assert [row[0] for row in log] == ["0001.pace", "0002.slow"]


def has_paced(path: Path) -> bool:
    """True once the first migration is done, so that the slow one is next."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as beside:
            applied = beside.execute("SELECT migration_id FROM _yoyo_log").fetchall()
    except sqlite3.OperationalError:  # no file or no table yet, or it is being written
        return False
    return applied == [("0001.pace",)]


async def test_a_kill_in_the_middle_leaves_nothing_and_the_next_goes_on_sqlite(
    empty_sqlite_url: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, **SLOW)
    path = locate(empty_sqlite_url).path
    journal = path.with_name(f"{path.name}-journal")
    with migrator(empty_sqlite_url, folder) as first:
        await eventually(lambda: has_paced(path) and journal.exists())
        assert first.poll() is None
        first.send_signal(signal.SIGKILL)
        first.wait(5)
    assert await ours(empty_sqlite_url) == {"pace"}
    assert not journal.exists()
    await sql(empty_sqlite_url, "UPDATE pace SET steps = 1")
    assert migrate(empty_sqlite_url, folder) == ["0002.slow"]
    assert await ours(empty_sqlite_url) == {"pace", "half", "whole"}


def is_repeatable(url: str) -> Callable[[str], bool]:
    """A test of migrations by name: those without a transaction, or that change nothing here."""
    folder = Path(__file__).parents[2] / "migrations" / locate(url).dialect
    mark = re.compile(r"-- transactional: false|\ASELECT 1;\Z")
    return lambda name: bool(mark.search((folder / f"{name}.rollback.sql").read_text().strip()))


@pytest.mark.parametrize(("work", "mark"), [(migrate, "mark_one"), (take_back, "unmark_one")])
async def test_a_migration_and_its_mark_are_one(
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[str], object],
    mark: str,
) -> None:
    def die(*_: object, **__: object) -> None:
        raise RuntimeError("killed here")

    # What is made or dropped concurrently has no transaction, and can be done again instead.
    repeatable = list(takewhile(is_repeatable(database_url), reversed(migration_ids("sqlite"))))
    rollback(database_url, 1000 if work is migrate else len(repeatable))
    before = await shape(database_url)
    with monkeypatch.context() as patch:
        patch.setattr(DatabaseBackend, mark, die)
        with pytest.raises(ConfigurationError, match="killed here"):
            work(database_url)
    assert await shape(database_url) == before
    work(database_url)
    assert await shape(database_url) != before


async def test_yoyos_left_over_lock_is_broken(database_url: str) -> None:
    await sql(database_url, "INSERT INTO yoyo_lock (locked, pid) VALUES (1, 12345)")
    assert rollback(database_url, 1)
    assert migrate(database_url)


async def test_a_failing_migration_is_named_and_leaves_nothing(
    empty_database_url: str, tmp_path: Path
) -> None:
    broken = "CREATE TABLE two (id int); INSERT INTO no_such_table VALUES (1);"
    folder = folder_of(tmp_path, _0001_one="CREATE TABLE one (id int)", _0002_two=broken)
    settings = Settings(database_url=empty_database_url)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"0002\.two failed.*no_such_table"):
            await ensure(settings, folder)
        assert await ours(empty_database_url) == {"one"}
    folder_of(tmp_path, _0002_two="CREATE TABLE two (id int)")
    assert await ensure(settings, folder) == ["0002.two"]


async def test_a_migration_that_waits_for_a_table_keeps_no_reader_waiting(
    empty_postgresql_url: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, _0001_one="CREATE TABLE one (id int)")
    settings = Settings(database_url=empty_postgresql_url)
    await ensure(settings, folder)
    folder_of(tmp_path, _0002_two="ALTER TABLE one ADD COLUMN more int")
    with (
        psycopg.connect(empty_postgresql_url) as long_one,
        psycopg.connect(empty_postgresql_url, autocommit=True) as short_ones,
    ):
        long_one.execute("SELECT count(*) FROM one")
        migrating = asyncio.create_task(ensure(settings, folder))
        # The server refuses one of them that waits ten times as long as the migration may.
        short_ones.execute(f"SET lock_timeout = '{10 * migrations_yoyo.WAIT_SECONDS} s'")
        held_up = 0
        async with asyncio.timeout(WITHIN):
            while held_up < 2:
                began = time.monotonic()
                await asyncio.to_thread(short_ones.execute, "SELECT count(*) FROM one")
                held_up += time.monotonic() - began > migrations_yoyo.WAIT_SECONDS / 2
                await asyncio.sleep(0.02)  # the pace of the other requests
        assert not migrating.done()
        long_one.commit()
        assert await migrating == ["0002.two"]


async def test_a_migration_that_never_gets_its_table_is_a_temporary_error(
    empty_postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations_yoyo, "LOCK_SECONDS", 1.0)
    folder = folder_of(tmp_path, _0001_one="CREATE TABLE one (id int)")
    await asyncio.to_thread(migrate, empty_postgresql_url, folder)
    folder_of(tmp_path, _0002_two="ALTER TABLE one ADD COLUMN more int")
    with psycopg.connect(empty_postgresql_url) as long_one:
        long_one.execute("SELECT count(*) FROM one")
        with pytest.raises(OperatorError, match=r"0002\.two waits for a lock"):
            await asyncio.to_thread(migrate, empty_postgresql_url, folder)
    assert await asyncio.to_thread(migrate, empty_postgresql_url, folder) == ["0002.two"]


def slow_start(url: str, folder: Path) -> asyncio.Task[list[str]]:
    """A start whose migration goes on for ever."""
    return asyncio.create_task(ensure(Settings(database_url=url), folder_of(folder, **SLOW)))


async def test_a_connection_lost_while_migrating_is_a_temporary_error(
    empty_postgresql_url: str, tmp_path: Path
) -> None:
    starting = slow_start(empty_postgresql_url, tmp_path)
    with psycopg.connect(empty_postgresql_url, autocommit=True) as beside:
        await eventually(lambda: beside.execute(END_IT).fetchall())
    with pytest.raises(OperatorError) as caught:
        await starting
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE


async def test_a_user_who_may_not_create_is_told_so(empty_postgresql_url: str) -> None:
    with psycopg.connect(empty_postgresql_url, autocommit=True) as beside:
        beside.execute("CREATE ROLE reader LOGIN")
    url = empty_postgresql_url.replace("postgres@", "reader@")
    with pytest.raises(ConfigurationError, match="permission denied for schema public"):
        await ensure(Settings(database_url=url))
    with psycopg.connect(empty_postgresql_url, autocommit=True) as beside:
        beside.execute("DROP ROLE reader")


async def test_a_start_that_is_cancelled_ends_its_migration(
    empty_postgresql_url: str, tmp_path: Path
) -> None:
    starting = slow_start(empty_postgresql_url, tmp_path)
    with psycopg.connect(empty_postgresql_url, autocommit=True) as beside:

        def at_it() -> bool:
            return beside.execute(AT_IT).fetchall() == [(1,)]

        await eventually(at_it)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await eventually(lambda: not at_it())
