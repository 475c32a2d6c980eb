"""Whatever a legacy file holds, adopting neither fails nor loses count nor breaks answers later."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from operator_svc.models import Adopted, BrowserTask, Message, Session, SwitchAdjustment, ToolCall
from tests.adopt import arbitrary_rows
from tests.adopt.conftest import LegacyFile, Target
from tests.project.process import Process, get, python_path

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [1, 2])
async def test_anything_in_any_column_is_counted_and_adopted_once(
    untyped: LegacyFile, target: Target, seed: int
) -> None:
    arbitrary_rows.fill(untyped, seed=seed, rows=250)
    report = await target.adopt(untyped)
    for table, counts in report.tables.items():
        assert counts.read == 251, table
        assert counts.read == counts.written + counts.joined + counts.skipped + counts.refused
    assert report.tables["operator_message"].refused == 0
    counted = {session.session_id: 0 for session in await target.rows(Session)}
    for message in await target.rows(Message):
        counted[message.session_id] += 1
    for session in await target.rows(Session):
        assert session.message_count == counted[session.session_id]
        assert session.last_seq == 0
    kinds = (Session, Message, ToolCall, BrowserTask, SwitchAdjustment, Adopted)
    before = [await target.rows(kind) for kind in kinds]
    again = await target.adopt(untyped)
    assert [await target.rows(kind) for kind in kinds] == before
    assert sum(counts.written + counts.made for counts in again.tables.values()) == 0


async def test_anything_that_was_adopted_can_be_read(
    untyped: LegacyFile, target: Target, tmp_path: Path
) -> None:
    arbitrary_rows.fill(untyped, seed=3, rows=200)
    await target.adopt(untyped)
    sessions = [session.session_id for session in await target.rows(Session)]
    tasks = [task.task_id for task in await target.rows(BrowserTask)]
    env = {
        "PATH": python_path(), "PYTHONPATH": str(ROOT / "src"), "OPERATOR_AUTH": "off",
        "OPERATOR_PORT": "0", "OPERATOR_LOG_FORMAT": "json", "BROWSER_URL": "",
        "OPERATOR_DATABASE_URL": target.url,
    }  # fmt: skip
    with Process([sys.executable, "-m", "operator_svc", "serve"], env, tmp_path) as process:
        url = process.ready()
        paths = ["sessions?limit=200", "sessions?q=user", "browser/tasks?limit=200"]
        paths += ["switch/adjustments?limit=200", "switch/engines?window=86400"]
        paths += [f"session/{name}?limit=1000" for name in sessions]
        paths += [f"session/{name}/export" for name in sessions]
        paths += [f"browser/task/{task_id}" for task_id in tasks]
        for path in paths:
            status, body = get(f"{url}/operator/{path}")
            assert status == 200 or path.startswith("switch/engines"), (path, body)
            if "export" not in path:
                json.loads(body)
        assert process.end() == 0
