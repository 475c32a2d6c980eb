"""The client for JavaScript, by its own suite against a running Operator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.node_suite import run_suite
from tests.project.process import dev_operator

SUITES = Path(__file__).resolve().parents[2] / "clients" / "js" / "test"
TOKEN = "js-token"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a running Operator on SQLite, with its stand-ins."""
    with dev_operator(tmp_path, TOKEN) as address:
        yield address


def test_node_client_under_cuts_loses_and_doubles_nothing(url: str) -> None:
    report = run_suite(SUITES / "client.test.js", url, TOKEN)
    assert "websocket: cuts while streaming" in report
    assert "event-stream: cuts while streaming" in report


def test_node_client_takes_no_other_program_for_operator(url: str) -> None:
    assert "not followed with the token" in run_suite(SUITES / "answers.test.js", url, TOKEN)


def test_the_ai_sdk_sends_resumes_and_stops(url: str) -> None:
    assert "resumed from its start" in run_suite(SUITES / "ai-sdk.test.js", url, TOKEN)
