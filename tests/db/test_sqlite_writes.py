"""SQLite's writer: what waits is one commit, and each write succeeds or fails by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from operator_svc.db import (
    ConstraintViolation,
    Database,
    Nothing,
    sqlite,
    sqlite_connection,
)
from operator_svc.db.sqlite_groups import Failure, commit_group
from operator_svc.db.sqlite_sets import Write
from operator_svc.db.sqlite_units import SqliteConnection
from operator_svc.errors import ErrorCode, OperatorError
from tests.db.things import add, file_of, names


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each group that was committed."""
    sizes: list[int] = []

    def counted(raw: Any, group: Any) -> Any:
        sizes.append(len(group))
        return commit_group(raw, group)

    monkeypatch.setattr(f"{sqlite.__name__}.commit_group", counted)
    return sizes


async def test_writes_that_wait_share_a_commit(sqlite_things: Database, groups: list[int]) -> None:
    assert await add(sqlite_things, *[f"m{i}" for i in range(300)]) == [[]] * 300
    assert sum(groups) == 300
    assert len(groups) <= 4
    assert max(groups) <= sqlite.GROUP


def hold_the_turn() -> None:
    """Let other threads run, as a busy turn of the event loop does."""
    time.sleep(0.005)  # the writer could begin a group in this time


async def test_writes_that_follow_on_a_commit_within_two_turns_share_the_next(
    sqlite_things: Database, groups: list[int]
) -> None:
    async def twice(number: int) -> None:
        await sqlite_things.write("thing_name", Nothing, name=f"a{number}")
        if number % 2:
            await asyncio.sleep(0)
            hold_the_turn()
        await sqlite_things.write("thing_name", Nothing, name=f"b{number}")

    await asyncio.gather(*map(twice, range(20)))
    assert groups == [20, 20]


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


async def test_writes_go_on_after_a_transaction_whose_commit_fails(
    sqlite_things: Database,
) -> None:
    with pytest.raises(ConstraintViolation):
        async with sqlite_things.transaction() as transaction:
            await transaction.execute("INSERT INTO part (thing) VALUES (99)")
    assert await add(sqlite_things, "a") == [[]]


async def test_writes_go_on_after_a_transaction_that_is_cancelled_as_it_begins(
    sqlite_things: Database,
) -> None:
    async def begin() -> None:
        async with sqlite_things.transaction():
            raise AssertionError("it was cancelled before")

    beginning = asyncio.create_task(begin())
    await asyncio.sleep(0)  # BEGIN is with the writer's thread
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    assert await add(sqlite_things, "a") == [[]]
