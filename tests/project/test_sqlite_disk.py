"""Readiness with SQLite, by the probe of a running process whose files fail it."""

from __future__ import annotations

import resource
import sqlite3
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.eventually import eventually
from tests.project.process import Process, free_port, get, python_path

ROOT = Path(__file__).parents[2]
TOKEN = "disk-test"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """Operator with its database in ``operator.db``."""
    env = {
        "PATH": python_path(),
        "PYTHONPATH": str(ROOT / "src"),
        "OPERATOR_TOKEN": TOKEN,
        "OPERATOR_PORT": "0",
        "OPERATOR_LOG_FORMAT": "json",
        "OPERATOR_DATABASE_URL": f"sqlite:///{tmp_path}/operator.db",
        "BROWSER_URL": f"http://127.0.0.1:{free_port()}",
        "SWITCH_URL": f"http://127.0.0.1:{free_port()}",
    }
    command = [sys.executable, "-m", "operator_svc", "serve"]
    with Process(command, env, tmp_path) as process:
        yield process


async def test_readiness_fails_while_no_file_can_grow(process: Process, tmp_path: Path) -> None:
    ready = f"{process.ready()}/health/ready"
    assert get(ready)[0] == 200
    pid = int((tmp_path / "operator.db.lock").read_text())
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, before[1]))
    await eventually(lambda: get(ready)[0] == 503)
    assert b"database_unavailable" in get(ready)[1]
    assert get(ready.replace("ready", "live"))[0] == 200
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    await eventually(lambda: get(ready)[0] == 200)


async def test_readiness_fails_once_the_log_is_unlinked_and_a_restart_keeps_all(
    process: Process, tmp_path: Path
) -> None:
    ready = f"{process.ready()}/health/ready"
    assert get(ready)[0] == 200
    (tmp_path / "operator.db-wal").unlink()
    await eventually(lambda: get(ready)[0] == 503)
    assert b"operator.db-wal was removed or replaced" in get(ready)[1]
    chat = urllib.request.Request(
        ready.replace("health/ready", "operator/chat"),
        data=b'{"message": "written after the log was unlinked"}',
        headers={"X-VX11-Token": TOKEN, "Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(chat, timeout=100)
    raised.value.close()
    assert raised.value.code in (502, 503)  # no Switch: the message is stored all the same
    assert process.end() == 0
    with closing(sqlite3.connect(tmp_path / "operator.db")) as after:
        assert after.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = after.execute("SELECT content FROM operator_message WHERE role = 'user'").fetchall()
        assert rows == [("written after the log was unlinked",)]
