"""The processes that are measured: started with real sockets, each on its core, ended for sure.

Servers (Operator and the references) stand on the first core, everything else on the second:
the stand-in for Switch, PostgreSQL, and the clients, which are this process. Where there is one
core only, nothing is pinned, and the results say so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "token-of-the-benchmark"
START_SECONDS = 120.0
_CORES = sorted(os.sched_getaffinity(0))
PINNED = len(_CORES) > 1
SERVER_CORE, CLIENT_CORE = _CORES[0], _CORES[-1]
PAGE = os.sysconf("SC_PAGE_SIZE")


def pin(pid: int, core: int) -> None:
    """Keep a process, and the threads that it will start, on one core."""
    if PINNED:
        os.sched_setaffinity(pid, {core})


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used, user and system, all threads: its CPU-time clock.

    What ``/proc/<pid>/stat`` tells in hundredths of a second, in nanoseconds
    (``clock_getcpuclockid(3)``).
    """
    return time.clock_gettime((~pid << 3) | 2)


def family_cpu_seconds(pid: int) -> float:
    """CPU that a process and all its descendants have used."""
    return sum(cpu_seconds(member) for member in family(pid))


def family(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        children = ""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended
            children = (task / "children").read_text()
        for child in children.split():
            yield from family(int(child))


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


class Process:
    """A process with a log file; ``url`` is where it listens, which it tells or is told."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        core: int,
        *,
        python: str | Path = sys.executable,
        url: str = "",
    ) -> None:
        self.name = name
        self.url = url
        self._log = tempfile.NamedTemporaryFile(  # noqa: SIM115 - end() closes it
            prefix=f"bench-{name}-", suffix=".log"
        )
        paths = (str(ROOT / "src"), str(ROOT))
        self._process = subprocess.Popen(
            [python, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
        pin(self._process.pid, core)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def host(self) -> str:
        """The address on which it listens."""
        return self.url.removeprefix("http://").partition(":")[0]

    @property
    def port(self) -> int:
        """The address on which it listens."""
        return int(self.url.rpartition(":")[2])

    def wait_ready(self) -> None:
        """Wait until it listens and it is known where; RuntimeError with its log otherwise."""
        deadline = time.monotonic() + START_SECONDS
        while not (url := self._listening()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start: {self.said()[-2000:]!r}")
            time.sleep(0.02)
        self.url = url

    def _listening(self) -> str:
        if not self.url:
            return _url_in(self.said())
        with socket.socket() as tried:
            return "" if tried.connect_ex((self.host, self.port)) else self.url

    def said(self) -> bytes:
        """Its log so far."""
        return Path(self._log.name).read_bytes()

    def cpu(self) -> float:
        """CPU seconds used so far, its descendants' included."""
        return family_cpu_seconds(self.pid)

    def rss(self) -> int:
        """Resident bytes."""
        return rss(self.pid)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> None:
        """Ask it to end, and see that it does."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.terminate()  # a second one ends Operator at once
                try:
                    self._process.wait(10)
                except subprocess.TimeoutExpired:
                    self._process.kill()
        self._process.wait()
        self._log.close()


def _url_in(log: bytes) -> str:
    for line in log.splitlines():
        if line.startswith(b"SWITCH_URL="):
            return line.partition(b"=")[2].decode()
        if b'"ready"' in line:
            with contextlib.suppress(msgspec.DecodeError):
                return str(msgspec.json.decode(line)["url"])
    return ""


@contextlib.contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Wait until all of them are ready, and end them afterwards."""
    try:
        for process in processes:
            process.wait_ready()
        yield
    finally:
        for process in reversed(processes):
            process.end()


def standin() -> Process:
    """The stand-in for Switch (and for the other peers), on the clients' core."""
    ports = [f"--{name}-port=0" for name in ("switch", "hermes", "shub", "tentaculo-link")]
    return Process(
        "standin",
        ["-m", "operator_svc", "devpeers", *ports],
        {"OPERATOR_TOKEN": TOKEN},
        CLIENT_CORE,
    )


def operator(
    switch: Process,
    database_url: str,
    *,
    module: Sequence[str] = ("-m", "operator_svc", "serve"),
    core: int = SERVER_CORE,
    name: str = "operator",
    **environment: str,
) -> Process:
    """Operator with its default settings, except for its address and what is given. It counts what
    a token may do, as always, but the one token of all clients here may do more than by default."""
    return Process(
        name,
        module,
        {
            "OPERATOR_PORT": "0",
            "OPERATOR_TOKEN": TOKEN,
            "OPERATOR_DATABASE_URL": database_url,
            "OPERATOR_LOG_FORMAT": "json",
            "OPERATOR_CHAT_RATE": "1000000",
            "OPERATOR_REPLIES_PER_TOKEN": "1000000",
            "SWITCH_URL": switch.url,
            **environment,
        },
        core,
    )


def reference(switch: Process, kind: str, database_url: str = "") -> Process:
    """One of the references, see bench.reference."""
    return Process(
        kind,
        ["-m", "bench.reference", kind, switch.url, database_url],
        {"OPERATOR_TOKEN": TOKEN},
        SERVER_CORE,
    )
