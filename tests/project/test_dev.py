"""``operator-svc dev`` and ``devpeers``: a whole system that leaves nothing behind."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes.eventually import block_until
from tests.project.commands import COMMAND, environment, run
from tests.project.process import Process, get


def test_devpeers_tell_where_they_are_and_end_on_ctrl_c(tmp_path: Path) -> None:
    ports = [f"--{name}-port=0" for name in ("switch", "hermes", "shub", "tentaculo-link")]
    with Process([*COMMAND, "devpeers", *ports], environment(), tmp_path) as process:
        url = process.line("SWITCH_URL=").strip().partition("=")[2]
        process.line("TENTACULO_LINK_URL=")
        status, body = get(f"{url}/health")
        assert status == 200
        assert json.loads(body)["module"] == "switch"
        assert process.end(signal.SIGINT) == 0


@pytest.mark.parametrize("last", [signal.SIGINT, signal.SIGHUP])
def test_dev_is_a_whole_system_and_leaves_nothing_behind(tmp_path: Path, last: int) -> None:
    env = environment(OPERATOR_PORT="0", BROWSER_PORT="0", OPERATOR_LOG_FORMAT="json")
    # Found in the process table afterwards, in whatever it started.
    env["TEST_MARK"] = mark = f"{os.getpid()}-{time.monotonic_ns()}"
    with Process([*COMMAND, "dev"], env, tmp_path) as process:
        url = process.line("Operator listens on").split()[-1]
        token = process.line("token:").split()[-1]
        assert len(token) > 20
        process.line("stand-ins answer for SWITCH_URL")
        curl = process.line("curl ").strip()
        assert token in curl
        file = tmp_path / "data" / "token"
        assert (file.read_text(), file.stat().st_mode & 0o777) == (f"{token}\n", 0o600)
        assert any(f"{url}/docs" in line for line in process.output)
        assert any(f"chat --url {url}" in line for line in process.output)
        chat = run(tmp_path, "chat", "found it", "--url", url, XDG_STATE_HOME=str(tmp_path))
        assert chat.stdout == "[stand-in] You said: found it\n"
        assert get(f"{url}/operator/sessions")[0] == 401
        said = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True).stdout
        assert "stand-in" in json.loads(said)["response"]
        browser = next(line for line in process.output if "the browser service runs at" in line)
        block_until(lambda: _answers(f"{browser.split()[-1]}/health"), every=0.1)
        assert process.end(last) == 0, process.output
        assert _with_mark(mark) == []
    assert (tmp_path / "data" / "operator.db").exists()
    assert not (tmp_path / "data" / "token").exists()


LEADER = """
import os, signal, subprocess, sys
signal.signal(signal.SIGHUP, lambda *_: None)  # make keeps waiting for its command
os.open(os.ttyname(0), os.O_RDWR)  # the terminal is that of the session from now on
subprocess.run(sys.argv[1:])
"""


def test_dev_ends_with_its_terminal_though_another_process_leads_the_session(
    tmp_path: Path,
) -> None:
    env = environment(OPERATOR_PORT="0", BROWSER_URL="", OPERATOR_AUTH="off")
    env["TEST_MARK"] = mark = f"{os.getpid()}-{time.monotonic_ns()}"
    ours, theirs = pty.openpty()
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER, *COMMAND, "dev"],
        cwd=tmp_path, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    try:
        os.close(theirs)
        shown = b""
        while b"Ctrl-C ends all of it" not in shown:
            shown += os.read(ours, 65536)
        os.close(ours)
        block_until(lambda: _with_mark(mark) == [], every=0.1)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()


def test_dev_uses_a_peer_that_is_set(tmp_path: Path) -> None:
    env = environment(
        OPERATOR_PORT="0",
        BROWSER_URL="",
        OPERATOR_LOG_FORMAT="json",
        OPERATOR_AUTH="off",
        SWITCH_URL="http://127.0.0.1:1",
    )
    with Process([*COMMAND, "dev"], env, tmp_path) as process:
        process.line("stand-ins answer for HERMES_URL, ")
        curl = process.line("curl ").strip()
        assert not any("SWITCH_URL" in line for line in process.output)
        said = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True).stdout
        assert json.loads(said)["error"] == "switch_unavailable"
        assert process.end() == 0


def _answers(url: str) -> bool:
    try:
        return get(url)[0] == 200
    except OSError:
        return False


def _with_mark(mark: str) -> list[str]:
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_text(errors="replace"):
                found.append((environ.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
