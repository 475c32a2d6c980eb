"""``operator-svc adopt`` as people run it."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import resource
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.adopt.conftest import NOON, LegacyFile
from tests.fakes.eventually import block_until
from tests.project.process import Process, get, python_path

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "operator_svc"]
WORDS = [f"{letter}{number}" for letter in "abcdefgh" for number in range(200)]


def environment(**settings: str) -> dict[str, str]:
    return {"PATH": python_path(), "PYTHONPATH": str(ROOT / "src")} | settings


def adopt(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "adopt", *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def filled(legacy: LegacyFile) -> LegacyFile:
    legacy.session("abc", user_id="ana")
    legacy.messages("abc", "hello", "again")
    legacy.messages("abc", "hi there", role="assistant", message_metadata='{"provider": "local"}')
    legacy.messages("lost", "orphan", role="narrator")
    legacy.add("browser_task", {"session_id": "abc", "url": "", "status": "done"})
    return legacy


def numbers(shown: str, table: str) -> list[int]:
    """The line of a table: read, written, made, joined, mended, skipped, refused."""
    (line,) = re.findall(rf"^{table} +([\d, ]+)$", shown, re.MULTILINE)
    return [int(number.replace(",", "")) for number in line.split()]


def test_adopted_database_is_served_after_a_dry_run_and_a_run(
    filled: LegacyFile, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    dry = adopt(folder, "--from", str(filled.path), "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "nothing was written" in dry.stdout
    assert list(folder.iterdir()) == []

    done = adopt(folder, "--from", str(filled.path))
    assert done.returncode == 0, done.stderr
    assert dry.stdout.startswith(done.stdout)
    assert numbers(done.stdout, "operator_session") == [1, 1, 1, 0, 0, 0, 0]
    assert numbers(done.stdout, "operator_message") == [4, 4, 0, 0, 1, 0, 0]
    assert numbers(done.stdout, "operator_browser_task") == [1, 0, 0, 0, 0, 0, 1]
    assert "operator_message: 1 mended: its role was unknown" in done.stdout
    assert "operator_browser_task: 1 refused: it has no url" in done.stdout

    env = environment(OPERATOR_TOKEN="t", OPERATOR_PORT="0", OPERATOR_LOG_FORMAT="json")
    with Process([*COMMAND, "serve"], env, folder) as process:
        url = process.ready()
        status, body = get(f"{url}/operator/session/abc", "t")
        assert status == 200
        history = json.loads(body)
        assert history["user_id"] == "ana"
        assert history["message_count"] == 3
        assert history["created_at"] == NOON.replace(" ", "T").replace(".000000", "Z")
        assert [m["content"] for m in history["messages"]] == ["hello", "again", "hi there"]
        assert history["messages"][2]["metadata"] == {"provider": "local"}
        listed = json.loads(get(f"{url}/operator/session/abc/events", "t")[1])
        assert (listed["seq"], listed["events"]) == (0, [])
        found = block_until(
            lambda: json.loads(get(f"{url}/operator/sessions?q=orphan", "t")[1])["sessions"]
        )
        assert [session["session_id"] for session in found] == ["lost"]

        refused = adopt(folder, "--from", str(filled.path))
        assert refused.returncode == 2
        assert re.search(r"operator\.db is in use by another process", refused.stderr)
        assert len(refused.stderr.splitlines()) == 1
        assert process.end() == 0


@pytest.mark.parametrize("arguments", [["--from", "none.db"], [], ["--from", "."]])
def test_command_used_wrongly_shows_its_usage(tmp_path: Path, arguments: list[str]) -> None:
    done = adopt(tmp_path, *arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello")
    done = adopt(tmp_path, "--from", "text.db")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["operator-svc: text.db is no SQLite database"]
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


def test_target_that_does_not_answer_ends_with_a_temporary_error(
    filled: LegacyFile, tmp_path: Path
) -> None:
    url = "postgresql://x@127.0.0.1:1/y"
    for more in ([], ["--dry-run"]):
        done = adopt(tmp_path, "--from", str(filled.path), *more, OPERATOR_DATABASE_URL=url)
        assert done.returncode == 75, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # the log
        assert line.startswith("operator-svc: ")


def test_target_that_is_the_legacy_file_is_refused(filled: LegacyFile, tmp_path: Path) -> None:
    url = f"sqlite:///{filled.path}"
    before = filled.path.read_bytes()
    done = adopt(tmp_path, "--from", str(filled.path), OPERATOR_DATABASE_URL=url)
    assert done.returncode == 2
    assert "is the target itself" in done.stderr
    assert filled.path.read_bytes() == before


def test_progress_stays_in_one_line_of_a_narrow_terminal(
    filled: LegacyFile, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 30))
    code = (
        "from operator_svc.cli import main\n"
        "from operator_svc.commands import adopt\n"
        "adopt.TERMINAL_PAUSE = 0.0\n"
        f"main(['adopt', '--from', {str(filled.path)!r}])"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL,
        stderr=theirs, check=True,
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 2**16).decode()
    os.close(ours)
    states = [state.partition("\r")[0] for state in shown.split("\x1b[K")]
    assert "operator_message: 4 of 4 (" in states[4]
    assert {len(state) for state in states[1:-1]} == {29}


def many(path: Path, messages: int) -> LegacyFile:
    """A legacy database of sessions with fifty messages each, whose rows lie mixed."""
    legacy = LegacyFile(path)
    pick = random.Random(1)  # noqa: S311
    sessions = messages // 50
    with legacy.open() as raw:
        raw.executemany(
            "INSERT INTO operator_session VALUES (?, ?, 'local', 'web', ?, ?)",
            ((i + 1, f"session-{i}", NOON, NOON) for i in range(sessions)),
        )
        raw.executemany(
            "INSERT INTO operator_message VALUES (?, ?, 'user', ?, '{\"n\": 1}', ?)",
            (
                (i + 1, f"session-{i * 7 % sessions}", " ".join(pick.choices(WORDS, k=20)), NOON)
                for i in range(messages)
            ),
        )
    raw.close()
    return legacy


def peak(legacy: LegacyFile, folder: Path) -> int:
    """The memory in KiB that adopting took at most; what it showed goes to the test's output."""
    folder.mkdir()
    code = (
        "import resource, sys\n"
        "from operator_svc.cli import main\n"
        f"main(['adopt', '--from', {str(legacy.path)!r}], standalone_mode=False)\n"
        "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    sys.stdout.write(done.stdout + done.stderr)
    return int(done.stdout.split("peak ")[1])


def test_memory_for_a_larger_file_does_not_grow(tmp_path: Path) -> None:
    small = peak(many(tmp_path / "small.db", 10_000), tmp_path / "one")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    large = peak(many(tmp_path / "large.db", 60_000), tmp_path / "two")
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    sys.stdout.write(f"60,000 messages in {used:.1f} s of processor time\n")
    # Batches are full in both; SQLite's caches fill up to their limits.
    assert large - small < 30 * 1024, (small, large)
