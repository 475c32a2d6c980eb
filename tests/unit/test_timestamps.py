"""Moments as text: one form, whose order is that of time."""

from __future__ import annotations

import datetime as dt

import pytest

from operator_svc.timestamps import utc_text

NOON = dt.datetime(2026, 2, 3, 12, 30, 45, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2026-02-03T12:30:45.000000Z"),
        (NOON.replace(microsecond=7), "2026-02-03T12:30:45.000007Z"),
        (NOON.replace(microsecond=120000), "2026-02-03T12:30:45.120000Z"),
        (NOON.replace(year=33), "0033-02-03T12:30:45.000000Z"),
        (NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=2))), "2026-02-03T10:30:45.000000Z"),
        (NOON.astimezone(dt.timezone(dt.timedelta(hours=-13))), "2026-02-03T12:30:45.000000Z"),
    ],
)
def test_a_moment_is_text_in_utc_with_microseconds(moment: dt.datetime, text: str) -> None:
    assert utc_text(moment) == text
    assert dt.datetime.fromisoformat(utc_text(moment)) == moment


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        utc_text(NOON.replace(tzinfo=None))
