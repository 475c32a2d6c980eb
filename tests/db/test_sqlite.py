"""SQLite by itself: the grouping writer, and what can go wrong with a file."""

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
from contextlib import closing
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec
import pytest

from operator_svc.db import (
    ConstraintViolation,
    Database,
    Nothing,
    connect,
    sqlite,
    sqlite_connection,
    sqlite_files,
)
from operator_svc.db.sqlite_connection import open_connection, run_on_thread
from operator_svc.db.sqlite_groups import Failure, SqliteConnection, Write, commit_group
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.settings import Settings
from tests.fakes.eventually import eventually


class Name(msgspec.Struct, frozen=True):
    """The name alone."""

    name: str


def file_of(url: str) -> Path:
    """The file of an SQLite URL."""
    return Path(url.removeprefix("sqlite:///"))


async def add(database: Database, *names: str) -> list[Any]:
    """Add things at once; what each write gave or raised."""
    writes = [database.write("thing_name", Nothing, name=name) for name in names]
    return await asyncio.gather(*writes, return_exceptions=True)


async def names(database: Database) -> list[str]:
    """The names of all things."""
    return [row.name for row in await database.fetch("thing_names", Name)]


async def test_writes_that_wait_share_a_commit(
    sqlite_things: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []

    def counted(raw: Any, group: Any) -> Any:
        groups.append(len(group))
        return commit_group(raw, group)

    monkeypatch.setattr(f"{sqlite.__name__}.commit_group", counted)
    assert await add(sqlite_things, *[f"m{i}" for i in range(300)]) == [[]] * 300
    assert sum(groups) == 300
    assert len(groups) <= 4
    assert max(groups) <= sqlite.GROUP


async def test_a_failing_write_is_rolled_back_alone(sqlite_things: Database) -> None:
    results = await add(sqlite_things, "a", "b", "a", "c", "b")
    assert [type(result) for result in results] == [
        list, list, ConstraintViolation, list, ConstraintViolation,
    ]  # fmt: skip
    assert await names(sqlite_things) == ["a", "b", "c"]


async def test_a_failing_list_of_statements_leaves_none_of_them(sqlite_things: Database) -> None:
    results = await asyncio.gather(
        sqlite_things.write("thing_name", Nothing, name="a"),
        sqlite_things.write("thing_name_twice", Nothing, name="b", other="a"),
        sqlite_things.write("thing_name", Nothing, name="c"),
        return_exceptions=True,
    )
    assert isinstance(results[1], ConstraintViolation)
    assert await names(sqlite_things) == ["a", "c"]


async def test_a_failing_commit_fails_all_of_the_group(sqlite_things: Database) -> None:
    results = await asyncio.gather(
        sqlite_things.write("thing_name", Nothing, name="a"),
        sqlite_things.write("part_add", Nothing, thing=77),  # looked at when it commits
        sqlite_things.write("thing_name", Nothing, name="b"),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [ConstraintViolation] * 3
    assert await names(sqlite_things) == []
    assert await add(sqlite_things, "after") == [[]]


async def test_a_write_with_the_wrong_record_is_rolled_back(sqlite_things: Database) -> None:
    class Other(msgspec.Struct, frozen=True):
        other: int

    with pytest.raises(TypeError):
        await sqlite_things.write("thing_name_twice", Other, name="a", other="b")
    assert await names(sqlite_things) == []


async def test_writes_whose_callers_gave_up_are_done(
    sqlite_things: Database, empty_sqlite_url: str
) -> None:
    tasks = [
        asyncio.create_task(sqlite_things.write("thing_name", Nothing, name=f"n{i}"))
        for i in range(10)
    ]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await sqlite_things.aclose()
    with closing(sqlite3.connect(file_of(empty_sqlite_url))) as raw:
        assert raw.execute("SELECT count(*) FROM thing").fetchone() == (10,)


async def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(
    sqlite_things: Database,
) -> None:
    await add(sqlite_things, "before")
    async with sqlite_things.transaction() as transaction:
        (pages,) = await transaction.fetch("PRAGMA page_count")
        await transaction.fetch(f"PRAGMA max_page_count = {pages[0] + 4}")
    results = await add(sqlite_things, "small", "large" * 10_000, "tiny")
    assert isinstance(results[1], OperatorError)
    assert results[1].code is ErrorCode.DATABASE_UNAVAILABLE
    assert "full" in results[1].detail
    done = [
        n for n, result in zip(("small", "large", "tiny"), results, strict=True) if result == []
    ]
    assert await names(sqlite_things) == ["before", *done]
    async with sqlite_things.transaction() as transaction:
        await transaction.fetch("PRAGMA max_page_count = 1000000")
    assert await add(sqlite_things, "large" * 10_000) == [[]]


async def test_when_sqlite_gives_a_transaction_up_the_rest_goes_on_in_another(
    tmp_path: Path,
) -> None:
    def insert(verb: str, name: str) -> Write:
        sql = f"{verb} INTO t VALUES (?) RETURNING name"
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        return Write(lambda raw: raw.execute(sql, (name,)).fetchall(), future)

    with closing(
        sqlite3.connect(tmp_path / "x.db", isolation_level=None, factory=SqliteConnection)
    ) as connection:
        connection.execute("CREATE TABLE t (name TEXT PRIMARY KEY)")
        group = [
            insert("INSERT", "a"),
            insert("INSERT", "a"),
            insert("INSERT OR ROLLBACK", "a"),
            insert("INSERT", "b"),
        ]
        first, second, third, fourth = commit_group(connection, group)
        assert [type(outcome) for outcome in (first, second, third)] == [Failure] * 3
        assert first is third
        assert fourth == [("b",)]
        assert connection.execute("SELECT name FROM t").fetchall() == [("b",)]


async def test_a_lock_held_by_a_stranger_is_a_temporary_error(
    open_things: Any, empty_sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connection, "BUSY_SECONDS", 0.1)
    things = await open_things(empty_sqlite_url)
    with closing(sqlite3.connect(file_of(empty_sqlite_url), isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        (error,) = await add(things, "a")
        assert isinstance(error, OperatorError)
        assert error.code is ErrorCode.DATABASE_UNAVAILABLE
        assert await names(things) == []  # readers do not mind
        stranger.execute("ROLLBACK")
    assert await add(things, "a") == [[]]


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
    refused = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
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
    refused = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
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


async def test_readers_can_not_write(sqlite_things: Database) -> None:
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
