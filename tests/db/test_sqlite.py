"""SQLite's file and its connections: who may have it, what can go wrong with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from operator_svc.db import (
    Database,
    Nothing,
    connect,
    sqlite_files,
)
from operator_svc.db.sqlite_connection import open_connection, run_on_thread
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.settings import Settings
from tests.db.things import add, file_of, names
from tests.fakes.eventually import eventually


async def test_a_second_opener_is_refused(
    sqlite_things: Database, empty_sqlite_url: str, things_sql: Path
) -> None:
    settings = Settings(database_url=empty_sqlite_url)
    with pytest.raises(ConfigurationError, match=rf"in use by another process.*{os.getpid()}"):
        await connect(settings, queries=things_sql)
    await sqlite_things.aclose()
    again = await connect(settings, queries=things_sql)
    await again.aclose()


SECOND = """
import asyncio, sys
from pathlib import Path
from operator_svc.db import connect, Nothing
from operator_svc.errors import ConfigurationError
from operator_svc.settings import Settings

async def main(url, folder):
    try:
        database = await connect(Settings(database_url=url), queries=Path(folder))
    except ConfigurationError as error:
        sys.exit(str(error))
    async def add(who):
        number = 0
        while True:
            await database.write("thing_name", Nothing, name=f"{who}-{number}")
            print(f"{who}-{number}", flush=True)
            number += 1
    await asyncio.gather(*[add(who) for who in range(8)])

asyncio.run(main(*sys.argv[1:]))
"""


async def test_another_process_is_refused_and_what_a_killed_one_acknowledged_is_there(
    sqlite_things: Database, empty_sqlite_url: str, things_sql: Path
) -> None:
    command = [sys.executable, "-c", SECOND, empty_sqlite_url, str(things_sql)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "in use by another process" in refused.stderr
    await sqlite_things.aclose()

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    after = await connect(Settings(database_url=empty_sqlite_url), queries=things_sql)
    stored = set(await names(after))
    await after.aclose()
    assert len(acknowledged) >= 200
    assert set(acknowledged) <= stored


@pytest.mark.parametrize("linked", ["file", "folder"])
async def test_another_process_is_refused_by_way_of_a_symbolic_link(
    sqlite_things: Database, empty_sqlite_url: str, things_sql: Path, tmp_path: Path, linked: str
) -> None:
    path = file_of(empty_sqlite_url)
    link = tmp_path / "elsewhere"
    link.symlink_to(path if linked == "file" else path.parent)
    by_link = f"sqlite:///{link if linked == 'file' else link / path.name}"
    command = [sys.executable, "-c", SECOND, by_link, str(things_sql)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert f"in use by another process (process {os.getpid()})" in refused.stderr
    await sqlite_things.aclose()
    again = await connect(Settings(database_url=by_link), queries=things_sql)
    await again.ping()
    await again.aclose()


async def test_a_database_with_two_hard_links_is_refused(
    sqlite_things: Database, empty_sqlite_url: str, things_sql: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    other.hardlink_to(file_of(empty_sqlite_url))
    with pytest.raises(ConfigurationError, match="has 2 hard links"):
        await connect(Settings(database_url=f"sqlite:///{other}"), queries=things_sql)
    other.unlink()
    assert await add(sqlite_things, "a") == [[]]


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_ping_fails_once_a_file_is_gone(
    sqlite_things: Database, empty_sqlite_url: str, end: str, how: str
) -> None:
    await sqlite_things.ping()
    file = Path(f"{file_of(empty_sqlite_url)}{end}")
    kept = file.rename(file.with_name("kept"))
    if how == "replaced":
        file.write_bytes(kept.read_bytes())
    with pytest.raises(OperatorError, match=f"{file.name} was removed or replaced") as raised:
        await sqlite_things.ping()
    assert raised.value.code is ErrorCode.DATABASE_UNAVAILABLE
    kept.rename(file)
    await sqlite_things.ping()


async def test_ping_fails_where_nothing_can_be_written(
    sqlite_things: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_files, "MIN_FREE", 2**62)
        with pytest.raises(OperatorError, match="disk is full"):
            await sqlite_things.ping()
    await sqlite_things.ping()
    async with sqlite_things.transaction() as transaction:
        await transaction.fetch("PRAGMA query_only = ON")
    with pytest.raises(OperatorError, match="cannot be written"):
        await sqlite_things.ping()


async def test_ping_changes_nothing(sqlite_things: Database) -> None:
    async with sqlite_things.transaction() as transaction:
        await transaction.fetch("PRAGMA user_version = 7")
        before = await transaction.fetch("PRAGMA schema_version")
    await sqlite_things.ping()
    async with sqlite_things.transaction() as transaction:
        assert await transaction.fetch("PRAGMA user_version") == [(7,)]
        assert await transaction.fetch("PRAGMA schema_version") == before


async def test_the_files_are_private(sqlite_things: Database, empty_sqlite_url: str) -> None:
    await add(sqlite_things, "a")
    path = file_of(empty_sqlite_url)
    files = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
    assert {file.name.removeprefix(path.name) for file in files} >= {"", "-wal", ".lock"}
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_a_missing_folder_is_made(tmp_path: Path, things_sql: Path) -> None:
    url = f"sqlite:///{tmp_path}/some/folder with spaces %231/operator.db"
    database = await connect(Settings(database_url=url), queries=things_sql)
    await database.aclose()
    folder = tmp_path / "some" / "folder with spaces #1"
    assert (folder / "operator.db").exists()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/x.db", "sqlite:///x?mode=ro",
     "mysql://x/y", "operator.db"],
)  # fmt: skip
async def test_a_wrong_url_is_a_configuration_error(url: str, things_sql: Path) -> None:
    with pytest.raises(ConfigurationError):
        await connect(Settings(database_url=url), queries=things_sql)


async def test_a_file_that_is_no_database_is_a_configuration_error(
    tmp_path: Path, things_sql: Path
) -> None:
    (tmp_path / "noise.db").write_bytes(b"this is no database" * 100)
    for name in ("noise.db", "."):
        with pytest.raises(ConfigurationError):
            await connect(Settings(database_url=f"sqlite:///{tmp_path}/{name}"), queries=things_sql)


async def test_synchronous_is_full_and_foreign_keys_are_on(sqlite_things: Database) -> None:
    async with sqlite_things.transaction() as transaction:
        assert await transaction.fetch("PRAGMA synchronous") == [(2,)]
        assert await transaction.fetch("PRAGMA foreign_keys") == [(1,)]
        assert await transaction.fetch("PRAGMA journal_mode") == [("wal",)]


async def test_readers_cannot_write(sqlite_things: Database) -> None:
    with pytest.raises(OperatorError) as caught:
        await sqlite_things.fetch("thing_name", Nothing, name="a")
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    assert await names(sqlite_things) == []


async def test_aiosqlite_runs_a_function_on_its_thread_in_one_hop(tmp_path: Path) -> None:
    connection = await aiosqlite.connect(tmp_path / "x.db")
    try:
        here = threading.get_ident()
        first = await run_on_thread(connection, threading.get_ident)
        second = await run_on_thread(connection, threading.get_ident)
        assert first == second != here
        assert await run_on_thread(connection, divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await run_on_thread(connection, divmod, 1, 0)
        assert isinstance(connection._conn, sqlite3.Connection)
    finally:
        await connection.close()
    with pytest.raises(ValueError, match="closed"):
        await run_on_thread(connection, divmod, 7, 2)


async def test_a_cancelled_open_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def slowly(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        time.sleep(0.2)  # a slow disk
        opened: sqlite3.Connection = connect(*args, **kwargs)
        return opened

    monkeypatch.setattr(sqlite3, "connect", slowly)
    before = threading.active_count()
    opening = asyncio.create_task(open_connection(tmp_path / "some.db"))
    await asyncio.sleep(0.05)  # its thread is opening the file
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await eventually(lambda: threading.active_count() <= before)  # it may be about to end
