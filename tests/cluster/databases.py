"""A primary and its standby, and the addresses by which each process reaches them."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal, get_args

from operator_svc.db.migrations import migrate
from tests.fakes.pgbouncer import PgBouncer
from tests.fakes.postgres import PostgresServer
from tests.fakes.relay import Relay

Way = Literal["direct", "pooled", "nats"]
WAYS: tuple[Way, ...] = get_args(Way)
OPTIONS = ("fsync=off", "full_page_writes=off", "shared_buffers=64MB", "max_wal_size=256MB",
           "wal_keep_size=64MB")  # fmt: skip
"""No test crashes the machine; the rest is as in production, autovacuum too."""
LOOK_BACK = 5000
"""Messages before a failover that may have changed in the commits that it loses."""

Row = tuple[int, str, str, str, str | None]
"""Id, role, status and content of a message, and the content of what it replies to."""


class LostCommits:
    """Rows of messages that a primary had committed and its successor does not have."""

    def __init__(self) -> None:
        self.messages: set[tuple[int, str]] = set()
        """Users' messages, by id and content."""
        self.ends: set[tuple[int, str]] = set()
        """Replies whose whole text is lost, by id and content."""
        self.begun: Counter[str] = Counter()
        """Replies that are lost altogether, by the user's message."""

    def add(self, had: set[Row], has: set[Row]) -> None:
        """Note what a failover lost."""
        kept = {(row[0], row[4]) for row in has}
        for reply, role, status, content, asked in had - has:
            if role == "user":
                self.messages.add((reply, content))
            elif role == "assistant":
                if status in ("complete", "cancelled"):
                    self.ends.add((reply, content))
                if asked is not None and (reply, asked) not in kept:
                    self.begun[asked] += 1


class Databases:
    """Two servers, one of which takes writes.

    With the way ``pooled`` each process goes through PgBouncer in transaction mode and past it, by
    addresses that follow the primary; with the others it names both servers. Either way each
    connection passes through a relay over TCP that is the process's own.
    """

    def __init__(self, way: Way) -> None:
        self.way = way
        self.primary = PostgresServer(OPTIONS)
        self.name = self.primary.create_database()
        migrate(self.primary.url(self.name))
        self.standby = PostgresServer(OPTIONS, standby_of=self.primary)
        self.pooler: PgBouncer | None = None
        self.relays: list[list[Relay]] = []
        """All relays of a process, for each process."""
        self.lost = LostCommits()
        self._fixed: list[tuple[Relay, PostgresServer]] = []
        self._following: list[Relay] = []
        self._pooled: list[Relay] = []
        self._stack = AsyncExitStack()
        self._since = 0
        self._has: set[Row] = set()

    async def __aenter__(self) -> Databases:
        if self.way == "pooled":
            relay = await self._relay(self.primary.folder)
            self._following.append(relay)
            self.pooler = await asyncio.to_thread(PgBouncer, relay.folder, "transaction")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.pooler is not None:
            await asyncio.to_thread(self.pooler.stop)
        await self._stack.aclose()
        for server in (self.standby, self.primary):
            await asyncio.to_thread(server.remove)

    async def _relay(self, target: Path) -> Relay:
        return await self._stack.enter_async_context(Relay(target))

    @property
    def url(self) -> str:
        """The URL of the database on the present primary, past all relays."""
        return self.primary.url(self.name)

    @property
    def all_relays(self) -> list[Relay]:
        """Those of all processes, and the one behind the pooler."""
        return [*self._following, *(relay for relay, _ in self._fixed), *self._pooled]

    def execute(self, sql: str, name: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement on the primary, past all relays; its rows, if it has any."""
        return self.primary.execute(sql, name)

    async def environment(self) -> dict[str, str]:
        """The settings of one more process."""
        if self.pooler is None:
            servers = (self.primary, self.standby)
            own = [await self._relay(server.folder) for server in servers]
            self._fixed += zip(own, servers, strict=True)
            self.relays.append(own)
            return {"OPERATOR_DATABASE_URL": self._address(*own)}
        pooled = await self._relay(self.pooler.folder)
        direct = await self._relay(self.primary.folder)
        self._pooled.append(pooled)
        self._following.append(direct)
        self.relays.append([pooled, direct])
        return {
            "OPERATOR_DATABASE_URL": self._address(pooled),
            "OPERATOR_DATABASE_DIRECT_URL": self._address(direct),
        }

    def _address(self, *relays: Relay) -> str:
        hosts = ",".join(f"127.0.0.1:{relay.port}" for relay in relays)
        return f"postgresql://postgres@{hosts}/{self.name}?sslmode=disable"

    def _close(self) -> None:
        """Let no process in."""
        for relay in (*self._following, *(relay for relay, _ in self._fixed)):
            relay.target = None

    def _open(self) -> None:
        for relay, server in self._fixed:
            relay.target = server.folder
        for relay in self._following:
            relay.target = self.primary.folder

    async def restart(self, pause: float) -> None:
        """Crash the primary, and start it again after so many seconds."""
        await asyncio.to_thread(self.primary.stop, signal.SIGQUIT)
        await asyncio.sleep(pause)
        await asyncio.to_thread(self.primary.start)

    async def switch_over(self) -> None:
        """Stop the primary in an orderly way, and have the standby, which has all, take over.

        ``follow`` has to be called when there is time for it.
        """
        await asyncio.to_thread(self.standby.catch_up)
        await asyncio.to_thread(self.primary.stop)
        await asyncio.to_thread(self.standby.promote)
        self.primary, self.standby = self.standby, self.primary
        self._open()

    async def follow(self) -> None:
        """Have the old primary come back as the standby of the new one."""
        await asyncio.to_thread(self.standby.follow, self.primary)

    async def fail_over(self, seconds: float) -> None:
        """Crash the primary, and have the standby take over without the commits of the last so
        many seconds. ``rebuild`` has to be called when there is time for it."""
        self._since = await asyncio.to_thread(self._detach_standby)
        await asyncio.sleep(seconds)
        self._close()
        await asyncio.to_thread(self.primary.stop, signal.SIGQUIT)
        await asyncio.to_thread(self.standby.promote)
        self._has = await asyncio.to_thread(self._rows, self.standby)
        self.primary, self.standby = self.standby, self.primary
        # The old primary does not run, so its address leads nowhere.
        self._open()

    def _detach_standby(self) -> int:
        self.standby.catch_up()
        self.standby.stop_receiving()
        rows = self.standby.execute("SELECT coalesce(max(id), 0) FROM operator_message", self.name)
        return int(rows[0][0]) - LOOK_BACK

    async def rebuild(self) -> None:
        """Look what only the old primary has, where no process reaches it, and make it a standby
        of the new one."""
        closed = [relay for relay, server in self._fixed if server is self.standby]
        for relay in closed:
            relay.target = None
        await asyncio.to_thread(self.standby.start)
        self.lost.add(await asyncio.to_thread(self._rows, self.standby), self._has)
        await asyncio.to_thread(self.standby.rebuild, self.primary)
        self._open()

    def _rows(self, server: PostgresServer) -> set[Row]:
        rows = server.execute(
            "SELECT m.id, m.role, m.status, m.content, asked.content FROM"
            " operator_message m LEFT JOIN operator_message asked ON asked.id = m.reply_to"
            f" WHERE m.id > {self._since}",
            self.name,
        )
        return {(row[0], row[1], row[2], row[3], row[4]) for row in rows}
