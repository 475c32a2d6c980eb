"""Values go into columns and come back as they went, on both engines."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from operator_svc.db import AsJson, Database, Nothing
from operator_svc.db.records import reader
from tests.db.things import NOTHING, Colour, Count, Id, Thing

MOMENT = dt.datetime(2025, 12, 14, 10, 0, 0, 120000, dt.UTC)


async def test_each_kind_of_column_comes_back_as_it_went(things: Database) -> None:
    values: dict[str, Any] = {
        "done": True,
        "score": 1.5,
        "data": {"a": [1, None, "ñ"], "b": {"c": 1.5}},
        "at": MOMENT.astimezone(dt.timezone(dt.timedelta(hours=-5))),
        "body": b"\x00\xff",
        "colour": Colour.RED,
    }
    (made,) = await things.write("thing_add", Id, name="all", **values)
    (row,) = await things.fetch("thing_all", Thing)
    assert row == Thing(made.id, "all", **values)
    assert row.at is not None
    assert row.at.utcoffset() == dt.timedelta(0)
    assert type(row.done) is bool
    assert type(row.colour) is Colour


async def test_null_is_none_in_each_kind(things: Database) -> None:
    await things.write("thing_add", Nothing, name="none", **NOTHING)
    assert await things.fetch("thing_all", Thing) == [
        Thing(1, "none", None, None, None, None, None, None)
    ]


@pytest.mark.parametrize(
    "value", [[], {}, [1, "a"], "text", '"quoted"', 7, 1.25, True, False, {"k": None}]
)
async def test_any_json_value_comes_back(things: Database, value: Any) -> None:
    await things.write("thing_add", Nothing, name="json", **{**NOTHING, "data": AsJson(value)})
    (row,) = await things.fetch("thing_all", Thing)
    assert row.data == value
    assert type(row.data) is type(value)


async def test_a_moment_without_a_zone_is_refused_by_sqlite(sqlite_things: Database) -> None:
    naive = {**NOTHING, "at": MOMENT.replace(tzinfo=None)}
    with pytest.raises(ValueError, match="time zone"):
        await sqlite_things.write("thing_add", Nothing, name="naive", **naive)


async def test_the_record_must_be_what_is_selected(things: Database) -> None:
    await things.write("thing_name", Nothing, name="a")

    class Turned(msgspec.Struct, frozen=True):
        name: str
        id: int

    for wrong in (Id, Turned):
        with pytest.raises(TypeError, match=r"thing_named selects \('id', 'name'\)"):
            await things.fetch("thing_named", wrong, name="a")


async def test_a_decimal_does_not_slip_into_an_int() -> None:
    with pytest.raises(TypeError, match="gives a float as count"):
        reader(Count, "postgresql").check("q", ("count",), (1.0,))
