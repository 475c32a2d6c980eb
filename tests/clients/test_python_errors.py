"""The errors of the client for Python, as answers tell them."""

from __future__ import annotations

import pytest

from operator_client.errors import refusal


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed Oct 21 07:28:00 2015", 0.0),
        ("Fri, 31 Dec 99999999999 23:59:59 GMT", None),
        ("soon", None),
        ("-1", None),
        ("", None),
    ],
)
def test_a_pause_may_be_a_date_and_is_none_where_it_cannot_be_read(
    asked: str, seconds: float | None
) -> None:
    page = refusal(503, {"Retry-After": asked}, b"<html>", "http://proxy")
    problem = refusal(503, {"Retry-After": asked}, b'{"error": "draining"}', "http://operator")
    assert (page.code, page.retry_after) == ("no_operator", seconds)
    assert (problem.code, problem.retry_after) == ("draining", seconds)
