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


@pytest.mark.timeout(180)
def test_node_client_under_cuts_loses_and_doubles_nothing(url: str) -> None:
    env = {**os.environ, "PATH": python_path(), "OPERATOR_URL": url, "OPERATOR_TOKEN": TOKEN}
    run = subprocess.run(
        ["node", "--test", "--test-reporter=spec", "test/client.test.js"],
        cwd=CLIENT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "websocket: cuts while streaming" in run.stdout
    assert "event-stream: cuts while streaming" in run.stdout
