"""State shared by the parts of a run: databases, PostgreSQL, the stand-in, and the figures."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bench import http
from bench.processes import CLIENT_CORE, Process, family_cpu_seconds, pin, standin
from bench.results import Figure
from operator_svc.db.migrations import migrate
from tests.fakes.postgres import PostgresServer

Engine: TypeAlias = Literal["sqlite", "postgresql"]
DURABLE = ("shared_buffers=256MB", "max_wal_size=4GB")
"""PostgreSQL as it is run: it waits for the disk, and autovacuum is on."""


class Bench:
    """One run. ``quick`` asks for fewer and shorter rounds."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.figures: list[Figure] = []
        self.folder = Path(tempfile.mkdtemp(prefix="operator-bench-"))
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count()
        self._postgres: PostgresServer | None = None
        self._templates: dict[Engine, str] = {}
        self._standin: Process | None = None

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, *figures: Figure) -> None:
        """Keep figures, and print them."""
        for figure in figures:
            self.figures.append(figure)
            print(figure.line(), flush=True)

    def note(self, text: str) -> None:
        """Print a line that is no figure."""
        print(f"         {text}", flush=True)

    def rounds(self, full: int) -> range:
        """The numbers of the rounds; a quick run has two."""
        return range(2 if self.quick else full)

    # Databases.

    @property
    def postgres(self) -> PostgresServer:
        """The PostgreSQL of this run, on the clients' core."""
        if self._postgres is None:
            self._postgres = PostgresServer(DURABLE)
            self._stack.callback(self._postgres.remove)
            pin(self._postgres.pid, CLIENT_CORE)  # its children come from it and stay there
        return self._postgres

    def database(self, engine: Engine) -> str:
        """The URL of a new database with all tables."""
        if engine == "postgresql":
            server = self.postgres
            if engine not in self._templates:
                self._templates[engine] = name = server.create_database()
                migrate(server.url(name))
            return server.url(server.create_database(self._templates[engine]))
        if engine not in self._templates:
            template = self.folder / "template.db"
            migrate(f"sqlite:///{template}")
            self._templates[engine] = str(template)
        path = self.folder / f"{next(self._numbers)}.db"
        shutil.copyfile(self._templates[engine], path)
        return f"sqlite:///{path}"

    def database_cpu(self) -> float:
        """CPU seconds of PostgreSQL and all its backends; 0 where it does not run."""
        if self._postgres is None:
            return 0.0
        return family_cpu_seconds(self._postgres.pid)

    def database_log(self) -> int:
        """Bytes of log that PostgreSQL has written."""
        ((size,),) = self.postgres.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(size)

    # Switch.

    @property
    def switch(self) -> Process:
        """The stand-in for Switch."""
        if self._standin is None:
            self._standin = standin()
            self._stack.callback(self._standin.end)
            self._standin.wait_ready()
        return self._standin

    async def tell_switch(self, **script: object) -> None:
        """Sets how the stand-in answers chats from here on (operator_svc.devpeers.Script)."""
        await http.call(self.switch, "POST", "/standin/mode", {"chat": script})


Part: TypeAlias = Callable[[Bench], Coroutine[Any, Any, None]]


def path_of(url: str) -> str:
    """The file of an SQLite URL, or another URL as it is."""
    return url.removeprefix("sqlite:///")


def fsync_ms(folder: Path, times: int = 50) -> float:
    """The median time of one write to disk (fdatasync of 4 KiB), in ms: SQLite pays it with
    each commit."""
    with tempfile.TemporaryFile(dir=folder) as file:
        took = [synced_ms(file.fileno(), 4096) for _ in range(times)]
    return statistics.median(took)


def synced_ms(file: int, size: int) -> float:
    """Write ``size`` bytes to a file; how long fdatasync then takes, in ms."""
    os.write(file, bytes(size))
    begun = time.perf_counter()
    os.fdatasync(file)
    return (time.perf_counter() - begun) * 1000
