"""Secrets that the log masks."""

from __future__ import annotations

import io

import msgspec
import pytest
import structlog

from operator_svc import logs
from tests.unit.conftest import lines


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "X-VX11-Token",
        "browser_token",
        "accessToken",
        "Authorization",
        "client_secret",
        "api-key",
        "private_key",
        "credentials",
    ],
)
def test_secrets_are_masked_at_any_depth(stream: io.StringIO, key: str) -> None:
    logs.configure("info", "json", stream)
    structlog.get_logger().info("call", **{key: "hush"}, headers={key: "hush"}, all=[{key: "hush"}])
    assert "hush" not in stream.getvalue()
    (line,) = lines(stream)
    assert line[key] == line["headers"][key] == line["all"][0][key] == logs.MASK


def test_counts_and_names_of_tokens_are_no_secrets(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    structlog.get_logger().info("reply", tokens_used=3, token_name="ci", tokens=7)
    (line,) = lines(stream)
    assert (line["tokens_used"], line["token_name"], line["tokens"]) == (3, "ci", 7)


def test_passwords_in_urls_are_masked_also_in_exceptions(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    url = "postgresql://operator:hush@db/operator"
    try:
        raise ConnectionError(f"no answer from {url}")
    except ConnectionError:
        structlog.get_logger().exception("failed", url=url)
    (line,) = lines(stream)
    assert "hush" not in stream.getvalue()
    assert line["url"] == "postgresql://operator:***@db/operator"
    assert "no answer from postgresql://operator:***@db" in line["exception"]


def test_passwords_in_urls_are_masked_in_errors_and_with_any_characters(
    stream: io.StringIO,
) -> None:
    logs.configure("info", "json", stream)
    url = "postgresql://operator:hush@hush@db/operator"
    error = OSError(url)
    structlog.get_logger().info("failed", url=url, error=error, all=[error], some={error, url})
    (line,) = lines(stream)
    masked = "postgresql://operator:***@db/operator"
    assert line["url"] == masked
    assert line["all"] == [line["error"]] == [f"OSError('{masked}')"]
    assert sorted(line["some"]) == [line["error"], masked]


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("nats://hush@bus:4222", "nats://***@bus:4222"),
        ("https://hush@example.org/a@b", "https://***@example.org/a@b"),
        ("http://:hush@[::1]/", "http://:***@[::1]/"),
        ("postgresql://operator@db/operator", "postgresql://operator@db/operator"),
        ("http://127.0.0.1:8000/some@where", "http://127.0.0.1:8000/some@where"),
    ],
)
def test_tokens_in_urls_are_masked_and_users_of_a_database_are_not(
    stream: io.StringIO, url: str, masked: str
) -> None:
    logs.configure("info", "json", stream)
    structlog.get_logger().info(f"asks {url} now", url=url)
    (line,) = lines(stream)
    assert (line["url"], line["event"]) == (masked, f"asks {masked} now")


class Account(msgspec.Struct):
    """A value with a secret field."""

    name: str
    password: str


class Node(msgspec.Struct):
    """A value that may hold itself."""

    next: Node | None = None


def test_values_of_any_kind_are_masked_and_none_stops_the_log(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    cycle: dict[str, object] = {}
    cycle["again"] = cycle
    account, endless = Account("ci", "hush"), Node()
    endless.next = endless
    structlog.get_logger().info(
        "told", account=account, all=[account], cycle=cycle, endless=endless, one=Node()
    )
    (line,) = lines(stream)
    assert line["account"] == line["all"][0] == {"name": "ci", "password": logs.MASK}
    assert (line["endless"], line["one"]) == ("...", {"next": None})
    assert line["cycle"]["again"]["again"]["again"] == {"again": "..."}
