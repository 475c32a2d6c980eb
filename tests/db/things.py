"""The small schema's records, and what several tests of the engines do with it."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from operator_svc.db import Database, Nothing
from operator_svc.errors import ErrorCode, OperatorError
from tests.fakes.eventually import WITHIN

TIMEOUT = 2.0
"""Seconds that a call may take (``db_timeout``) where a test waits for its end."""


class Colour(enum.StrEnum):
    """Values of an enum column."""

    RED = "red"


class Thing(msgspec.Struct, frozen=True):
    """A row of ``thing``, with each kind of column."""

    id: int
    name: str
    done: bool | None
    score: float | None
    data: Any
    at: dt.datetime | None
    body: bytes | None
    colour: Colour | None


NOTHING: dict[str, Any] = dict.fromkeys(("done", "score", "data", "at", "body", "colour"))
"""NULL in each column that may be null."""


class Id(msgspec.Struct, frozen=True):
    """The id alone."""

    id: int


class Named(msgspec.Struct, frozen=True):
    """The id and the name."""

    id: int
    name: str


class Name(msgspec.Struct, frozen=True):
    """The name alone."""

    name: str


class Count(msgspec.Struct, frozen=True):
    """A number of rows."""

    count: int


async def add(database: Database, *names: str) -> list[Any]:
    """Add things at once; what each write gave or raised."""
    writes = [database.write("thing_name", Nothing, name=name) for name in names]
    return await asyncio.gather(*writes, return_exceptions=True)


async def names(database: Database) -> list[str]:
    """The names of all things."""
    return [row.name for row in await database.fetch("thing_names", Name)]


async def warm(database: Database, connections: int = 4) -> None:
    """Open connections of the pool, and use each of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("operator_svc.db.pool.PATIENCE", 0.0)
        await asyncio.gather(*[database.fetch("thing_names", Name) for _ in range(connections)])


async def unavailable(call: Awaitable[Any], *, at_once: bool = False) -> None:
    """``call`` raises DATABASE_UNAVAILABLE, not long after TIMEOUT on a machine that is not busy;
    ``at_once`` says that it was told so, and did not wait until its time was over."""
    with pytest.raises(OperatorError) as caught:
        async with asyncio.timeout(WITHIN):
            await call
    assert not at_once or "in time" not in caught.value.detail
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    assert caught.value.retry_after == 1


@contextmanager
def beside(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection beside the code under test."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def end_all_backends(url: str) -> None:
    """End all other connections to the database, and wait until they have gone."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with beside(url) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}".encode())


def file_of(url: str) -> Path:
    """The file of an SQLite URL."""
    return Path(url.removeprefix("sqlite:///"))
