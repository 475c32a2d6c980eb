"""Runs an installed ``operator-svc`` as people do: a process, its log, a signal to end it."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NOBODY = 65534
DEADLINE = 40.0
"""Seconds that a start or an end may take on a busy machine."""


def free_port() -> int:
    """A port that nothing listens on now; the log says so where somebody was faster."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def two_free_ports() -> int:
    """A port that nothing listens on now, nor on the next one."""
    while True:
        port = free_port()
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", port + 1))
            return port


def as_nobody(command: Sequence[str]) -> list[str]:
    """``command`` as another user without rights, where this one is root.

    That user may read everything, as Python itself may lie in root's home folder, and write
    nothing but what is its own.
    """
    if os.geteuid() != 0:
        return list(command)
    return [
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search",
        "--bounding-set=-all,+dac_read_search",
        *command,
    ]


def shell(script: str, *, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script that ends at its first fault, with nothing to read."""
    return subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


class Process:
    """A command under test; ends with the ``with`` block, by SIGKILL if it must."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        # The whole group, so that nothing it started is left either.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=DEADLINE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def line(self, wanted: str) -> str:
        """The next line with ``wanted`` in it; fails when the process ends or takes too long."""
        until = time.monotonic() + DEADLINE
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {wanted!r} in time: {self.output}") from None
            if line is None:
                raise AssertionError(f"ended without {wanted!r}: {self.output}")
            if wanted in line:
                return line

    def ready(self) -> str:
        """The address that it serves, as its ready line says."""
        said: dict[str, Any] = json.loads(self.line('"event":"ready"'))
        url: str = said["url"]
        return url

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self._process.send_signal(signal_number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; the exit code."""
        return self._process.wait(timeout=DEADLINE)


def get(url: str, token: str = "") -> tuple[int, bytes]:
    """Fetch ``url``; its status and body. An error's status is an answer too."""
    request = urllib.request.Request(url, headers={"X-VX11-Token": token} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def python_path() -> str:
    """PATH with this environment's Python first, as in an active virtual environment."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@contextmanager
def dev_operator(folder: Path, token: str, browses: bool = False, /, **more: str) -> Iterator[str]:
    """An Operator on SQLite in ``folder``, with stand-ins; its address. ``more`` are settings.

    Its browser service is away, unless it ``browses``: a Chromium takes longer than all else.
    """
    away = {} if browses else {"BROWSER_URL": f"http://127.0.0.1:{free_port()}"}
    env = {
        "PATH": python_path(),
        "OPERATOR_PORT": "0",
        "OPERATOR_TOKEN": token,
        "OPERATOR_CHAT_RATE": "0",
        "OPERATOR_LOG_FORMAT": "json",
        "BROWSER_PORT": "0",
        **away,
        **more,
    }
    with Process([sys.executable, "-m", "operator_svc", "dev"], env, folder) as operator:
        # Its browser service says that it is ready too.
        yield operator.line("Operator listens on").split()[-1]
        operator.end()


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of the tests in ``folder`` by a pytest of its own, with no plug-in but for reruns."""
    plugins = ("-p", "no:cacheprovider", "-p", "pytest_rerunfailures")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *options],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
