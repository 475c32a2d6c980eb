"""The real PgBouncer between the service and PostgreSQL (`make machine` installs Debian's)."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import psycopg

from tests.fakes.eventually import block_until

PoolMode = Literal["session", "transaction", "statement"]

_SETTINGS = """
[databases]
* = host={server} {login}

[pgbouncer]
pool_mode = {mode}
unix_socket_dir = {folder}
listen_port = 5432
auth_type = any
max_client_conn = 500
default_pool_size = {size}
server_login_retry = 1
server_connect_timeout = 2
log_connections = 0
log_disconnections = 0
log_stats = 0
"""


class PgBouncer:
    """A pooler of ``size`` connections in front of the PostgreSQL whose socket is in ``server``,
    where it logs in with ``login``."""

    def __init__(
        self, server: Path, mode: PoolMode, size: int = 10, *, login: str = "user=postgres"
    ) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, "PgBouncer is not installed: make machine"
        self.folder = Path(tempfile.mkdtemp(prefix="operator-pgbouncer-"))
        """The folder of its socket."""
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            _SETTINGS.format(server=server, mode=mode, folder=self.folder, size=size, login=login)
        )
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in (self.folder, settings):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        prefix = ("setpriv", "--pdeathsig", "INT") if shutil.which("setpriv") else ()
        self._command = [*prefix, program, str(settings)]
        self._user = user
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                **self._user,
            )  # fmt: skip
        self._wait()
        return self._process

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def restart(self) -> None:
        """Stop it, which cuts all connections through it, and start it again."""
        self._end()
        self._start()

    @property
    def log(self) -> str:
        """Its log: errors, and the requests to cancel that it carries."""
        return (self.folder / "log").read_text(errors="replace")

    def _end(self) -> None:
        # SIGTERM waits for clients since 1.23, and SIGQUIT is ignored where a shell has started
        # the tests in the background.
        self._process.kill()
        self._process.wait(10)

    def _wait(self) -> None:
        block_until(self._is_up)

    def _is_up(self) -> bool:
        try:
            psycopg.connect(self.url("pgbouncer"), autocommit=True).close()
        except psycopg.OperationalError:
            assert self._process.poll() is None, self.log
            return False
        return True

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.folder))}"

    def stop(self) -> None:
        """Stop it and delete its folder; all connections through it are cut."""
        self._end()
        shutil.rmtree(self.folder)


def through(pooler: PgBouncer, url: str) -> str:
    """The URL of a database by way of the pooler."""
    return pooler.url(url.partition("@/")[2].partition("?")[0])
