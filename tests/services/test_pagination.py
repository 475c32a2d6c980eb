"""Pages and their cursors."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_ID
from operator_svc.services.pagination import (
    id_cursor,
    parse_id_cursor,
    parse_text_cursor,
    parse_time_cursor,
    text_cursor,
    time_cursor,
)

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
FIRST = (datetime(9999, 12, 31, tzinfo=UTC), MAX_ID)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("row_id", [0, 1, 9, 10, 12345, MAX_ID])
def test_id_cursor_is_read_back(row_id: int) -> None:
    cursor = id_cursor(row_id)
    assert parse_id_cursor(cursor, 7) == row_id
    assert not cursor.isdigit(), "or it could not be told from plain digits"


def test_without_a_cursor_the_list_begins_at_its_first_row() -> None:
    assert parse_id_cursor(None, 7) == 7
    assert parse_time_cursor(None, FIRST) == FIRST


@pytest.mark.parametrize("text", ["", "a", "a/b", "ñ 漢", "day/1"])
def test_text_cursor_is_read_back_in_its_own_order_alone(text: str) -> None:
    cursor = text_cursor("model", text)
    assert parse_text_cursor(cursor, "model", "first") == text
    assert parse_text_cursor(None, "model", "first") == "first"
    for strange in (cursor, id_cursor(42), time_cursor(MOMENT, 42), encoded("day"), "x"):
        with pytest.raises(OperatorError) as caught:
            parse_text_cursor(strange, "day", "first")
        assert caught.value.code is ErrorCode.INVALID_PARAMETER


def test_cursors_of_earlier_versions_are_read() -> None:
    assert parse_id_cursor("42", 7) == 42, "tool calls and adjustments"
    assert parse_id_cursor("NDI", 7) == 42, "browser tasks"
    assert parse_time_cursor(encoded("2026-01-02T03:04:05.678900+00:00/42"), FIRST) == (MOMENT, 42)


def test_time_cursor_is_read_back_in_utc() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=-5)))
    assert parse_time_cursor(time_cursor(elsewhere, 42), FIRST) == (MOMENT, 42)


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "-1", "9" * 30, str(MAX_ID + 1), "१", "NDI=NDI=NDI", encoded("-1"), encoded("1.5"),
        encoded(str(MAX_ID + 1)), encoded("१"), "\ud800", "//", "____",
    ],
)  # fmt: skip
def test_strange_id_cursor_is_an_invalid_parameter(cursor: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse_id_cursor(cursor, 7)
    assert caught.value.code is ErrorCode.INVALID_PARAMETER


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "42", encoded("42"), encoded("2026-01-02T03:04:05/42"), encoded("yesterday/42"),
        encoded(f"{MOMENT.isoformat()}/-1"), encoded(f"{MOMENT.isoformat()}/"), "\ud800",
        encoded("0001-01-01T00:00:00+23:59/1"), encoded("9999-12-31T23:59:59-23:59/1"),
    ],
)  # fmt: skip
def test_strange_time_cursor_is_an_invalid_parameter(cursor: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse_time_cursor(cursor, FIRST)
    assert caught.value.code is ErrorCode.INVALID_PARAMETER
