"""The client for JavaScript, by its own suite against a running Operator."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.process import dev_operator, python_path

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "js"
TOKEN = "js-token"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a running Operator on SQLite, with its stand-ins."""
    with dev_operator(tmp_path, TOKEN) as address:
        yield address


def run_suite(url: str, name: str) -> str:
    """The report of a suite of the client's, which passes."""
    env = {**os.environ, "PATH": python_path(), "OPERATOR_URL": url, "OPERATOR_TOKEN": TOKEN}
    run = subprocess.run(
        ["node", "--test", "--test-reporter=spec", f"test/{name}"],
        cwd=CLIENT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_node_client_under_cuts_loses_and_doubles_nothing(url: str) -> None:
    report = run_suite(url, "client.test.js")
    assert "websocket: cuts while streaming" in report
    assert "event-stream: cuts while streaming" in report


def test_the_ai_sdk_sends_resumes_and_stops(url: str) -> None:
    assert "resumed from its start" in run_suite(url, "ai-sdk.test.js")
