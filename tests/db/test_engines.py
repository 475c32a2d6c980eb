"""Promises of both engines about queries, writes and transactions."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest
from prometheus_client import REGISTRY

from operator_svc.db import ConstraintViolation, Database, Nothing
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.telemetry import QueryTimes
from tests.db.things import NOTHING, Colour, Count, Id, Name, Named, Thing, names
from tests.fakes.eventually import WITHIN, eventually


async def test_fetch_one_gives_the_first_row_or_none(things: Database) -> None:
    assert await things.fetch_one("thing_named", Named, name="a") is None
    await things.write("thing_name", Nothing, name="a")
    assert await things.fetch_one("thing_named", Named, name="a") == Named(1, "a")


class Moments(msgspec.Struct, frozen=True):
    """One moment, asked for in three ways."""

    one: dt.datetime
    two: dt.datetime
    three: dt.datetime


async def test_a_statement_runs_whatever_its_parameters_are(things: Database) -> None:
    """A condition on a parameter within a statement decides nothing about the whole of it."""
    for name in ("first", "last"):
        await things.write("thing_name", Nothing, name=name)
    await things.write("thing_remove", Nothing, name="first", other=None)
    assert await names(things) == ["first"]
    await things.write("thing_remove", Nothing, name="first", other="given")
    assert await names(things) == []


async def test_a_hinted_statement_runs_only_with_its_parameter(things: Database) -> None:
    await things.write("thing_name", Nothing, name="old")
    await things.write("thing_rename", Nothing, name="old", new_name=None, colour="red")
    await things.write("thing_rename", Nothing, name="old", new_name=None, colour=None)
    (row,) = await things.fetch("thing_all", Thing)
    assert (row.name, row.colour) == ("old", Colour.RED)
    await things.write("thing_rename", Nothing, name="old", new_name="new", colour=None)
    assert await names(things) == ["new"]


async def test_text_and_names_that_look_like_a_call_of_now_stay(things: Database) -> None:
    assert await things.fetch("thing_quote", Name) == [Name("call now() later")]
    (moments,) = await things.fetch("moments", Moments)
    assert moments.one == moments.two == moments.three


async def test_a_write_of_several_changes_is_one_unit(things: Database) -> None:
    rows = await things.write("thing_name_twice", Id, name="a", other="b")
    assert len(rows) == 1
    with pytest.raises(ConstraintViolation):
        await things.write("thing_name_twice", Id, name="c", other="b")
    assert sorted(await names(things)) == ["a", "b"]


@pytest.mark.parametrize(
    ("changed", "kind", "constraints"),
    [
        ({"name": "taken"}, "unique", {"thing.name", "thing_name_key"}),
        ({"score": 100.0}, "check", {"score_is_small"}),
        ({"name": None}, "not_null", {"thing.name", "name"}),
    ],
)
async def test_a_refused_row_tells_why(
    things: Database, changed: dict[str, Any], kind: str, constraints: set[str]
) -> None:
    await things.write("thing_name", Nothing, name="taken")
    with pytest.raises(ConstraintViolation) as caught:
        await things.write("thing_add", Nothing, **{"name": "new", **NOTHING, **changed})
    assert caught.value.kind == kind
    assert caught.value.constraint in constraints
    assert await names(things) == ["taken"]


async def test_a_missing_parent_is_a_foreign_key_violation(things: Database) -> None:
    with pytest.raises(ConstraintViolation) as caught:
        await things.write("part_add", Nothing, thing=77)
    assert caught.value.kind == "foreign_key"


async def test_the_parameters_must_be_the_declared_ones(things: Database) -> None:
    for wrong in ({}, {"nom": "a"}, {"name": "a", "more": 1}):
        with pytest.raises(TypeError, match="thing_name: parameters"):
            await things.write("thing_name", Nothing, **wrong)
    with pytest.raises(TypeError, match=r"missing \['name'\]"):
        await things.fetch("thing_named", Named)
    assert await names(things) == []


async def test_an_unknown_query_is_a_lookup_error(things: Database) -> None:
    for call in (things.fetch, things.write):
        with pytest.raises(LookupError, match="no query thing_lost"):
            await call("thing_lost", Nothing)


async def test_a_transaction_is_all_or_nothing(things: Database) -> None:
    async with things.transaction() as transaction:
        assert await transaction.execute("INSERT INTO thing (name) VALUES (:n)", n="a") == 1
        await transaction.executemany(
            "INSERT INTO thing (name) VALUES (:n)", [{"n": "b"}, {"n": "c"}]
        )
        assert await transaction.fetch("SELECT name FROM thing WHERE name > :n", n="b") == [("c",)]
    with pytest.raises(ZeroDivisionError):
        await delete_all_and(things, lambda: 1 / 0)
    deleted = asyncio.Event()
    task = asyncio.create_task(delete_all_and(things, lambda: wait_for_ever(deleted)))
    await deleted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names(things) == ["a", "b", "c"]
    await things.write("thing_name", Nothing, name="d")


async def wait_for_ever(reached: asyncio.Event) -> None:
    reached.set()
    await asyncio.Event().wait()


async def delete_all_and(database: Database, then: Callable[[], Any]) -> None:
    """A transaction that changes something before ``then`` ends it."""
    async with database.transaction() as transaction:
        await transaction.execute("DELETE FROM thing")
        await then()


async def test_a_violation_in_a_transaction_is_translated(things: Database) -> None:
    await things.write("thing_name", Nothing, name="a")
    with pytest.raises(ConstraintViolation):
        async with things.transaction() as transaction:
            await transaction.execute("INSERT INTO thing (name) VALUES ('a')")
    assert await names(things) == ["a"]


async def test_many_callers_at_once_each_get_their_own(things: Database) -> None:
    async def add(i: int) -> tuple[str, int]:
        (made,) = await things.write("thing_add", Id, name=f"n{i}", **NOTHING)
        found = await things.fetch_one("thing_named", Named, name=f"n{i}")
        assert found == Named(made.id, f"n{i}")
        return f"n{i}", made.id

    made = await asyncio.gather(*[add(i) for i in range(200)])
    assert len({identity for _, identity in made}) == 200
    assert await things.fetch("thing_count", Count) == [Count(200)]


async def test_a_cancelled_caller_does_not_cancel_its_write(things: Database) -> None:
    tasks = [
        asyncio.create_task(things.write("thing_name", Nothing, name=f"n{i}")) for i in range(20)
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    await things.aclose()


async def test_a_read_that_takes_too_long_is_ended(
    open_things: Any, empty_database_url: str
) -> None:
    things = await open_things(empty_database_url, db_timeout=1.0, db_pool_size=1)
    with pytest.raises(OperatorError) as caught:
        await things.fetch("wait_long", Count)
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    assert caught.value.retry_after == 1

    async def free() -> bool:
        try:
            return await names(things) == []
        except OperatorError:  # a second is not much on a busy machine
            return False

    await eventually(free)


async def test_a_cancelled_read_frees_its_connection(
    open_things: Any, empty_database_url: str
) -> None:
    things = await open_things(empty_database_url, db_pool_size=1)
    for _ in range(3):
        task = asyncio.create_task(things.fetch("wait_long", Count))
        await asyncio.sleep(0.1)  # the read is under way
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(WITHIN):
        assert await names(things) == []


async def test_after_closing_all_is_refused(things: Database) -> None:
    await things.write("thing_name", Nothing, name="a")
    await things.aclose()
    for call in (things.ping, things.applied_migrations):
        with pytest.raises(OperatorError):
            await call()
    with pytest.raises(OperatorError):
        await things.write("thing_name", Nothing, name="b")
    with pytest.raises(OperatorError):
        await things.fetch("thing_names", Name)
    await things.aclose()


async def test_now_is_one_moment_for_a_write(sqlite_things: Database) -> None:
    async with sqlite_things.transaction() as transaction:
        (row,) = await transaction.fetch("SELECT now(), now(-60), now(0.5), now()")
    now, before, later, again = (dt.datetime.fromisoformat(text) for text in row)
    assert now == again
    assert abs(dt.datetime.now(dt.UTC) - now) < dt.timedelta(seconds=5)
    assert now - before == dt.timedelta(seconds=60)
    assert later - now == dt.timedelta(seconds=0.5)
    assert all(len(text) == len("2025-12-14T10:00:00.123456Z") for text in row)


async def test_each_query_is_timed_by_name(things: Database) -> None:
    def count(query: Literal["thing_count"]) -> float:
        sample = REGISTRY.get_sample_value("operator_db_query_seconds_count", {"query": query})
        return sample or 0.0

    before = count("thing_count")
    await things.fetch("thing_count", Count)
    assert count("thing_count") == before + 1
    unused = {"query": "a query that has not run"}
    QueryTimes(unused["query"])
    assert REGISTRY.get_sample_value("operator_db_query_seconds_count", unused) is None


async def test_a_database_without_migrations_has_none_applied(things: Database) -> None:
    assert await things.applied_migrations() == frozenset()
