"""Connections as processes of the service hold them, without the processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import cast
from urllib.parse import urlsplit

import psycopg

from bench.processes import cpu_seconds
from operator_svc.bus.nats import subject_of

RENEWAL_SECONDS = 1.0


class SimulatedPods:
    """``count`` processes that renew their leases, listen, and subscribe to ``sessions`` sessions
    each, which are their own."""

    def __init__(self, database_url: str, bus_url: str, count: int, sessions: int) -> None:
        self._url = database_url
        self._bus = urlsplit(bus_url)
        self._count = count
        self._sessions = sessions
        self._subscribers: list[_Subscriber] = []
        self._stack = AsyncExitStack()
        self._renewer: psycopg.AsyncConnection | None = None

    @property
    def received(self) -> int:
        """Messages that they were sent."""
        return sum(subscriber.received for subscriber in self._subscribers)

    def database_cpu(self) -> float:
        """CPU seconds of PostgreSQL for their renewals."""
        return 0.0 if self._renewer is None else cpu_seconds(self._renewer.info.backend_pid)

    async def __aenter__(self) -> SimulatedPods:
        for number in range(self._count):
            connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
            self._stack.push_async_callback(connection.close)
            await connection.execute("LISTEN operator_news")
            await connection.execute(
                "INSERT INTO operator_pod (pod_id, lease_until, backend_pid, backend_start,"
                " renewed_at) SELECT %s, now() + interval '1 minute', pid, backend_start, now()"
                " FROM pg_stat_activity WHERE pid = pg_backend_pid()",
                (f"simulated-{number}",),
            )
            names = (f"simulated-{number}-{n}" for n in range(self._sessions))
            await self._subscribe(names)
        self._renewer = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
        self._stack.push_async_callback(self._renewer.close)
        self._stack.push_async_callback(self._give_up, self._renewer)
        renewing = asyncio.create_task(self._renew(self._renewer))
        self._stack.push_async_callback(_end, renewing)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _give_up(self, connection: psycopg.AsyncConnection) -> None:
        await connection.execute("DELETE FROM operator_pod WHERE pod_id LIKE 'simulated-%'")

    async def _subscribe(self, names: Iterable[str]) -> None:
        subscriber = _Subscriber([subject_of(name) for name in names])
        assert self._bus.hostname is not None
        assert self._bus.port is not None
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: subscriber, self._bus.hostname, self._bus.port
        )
        self._stack.callback(transport.abort)
        await subscriber.ready
        self._subscribers.append(subscriber)

    async def _renew(self, connection: psycopg.AsyncConnection) -> None:
        """Renew all leases each second, as many commits as so many processes make."""
        while True:
            for number in range(self._count):
                await connection.execute(
                    "UPDATE operator_pod SET renewed_at = clock_timestamp(),"
                    " lease_until = clock_timestamp() + interval '1 minute'"
                    " WHERE pod_id = %s",
                    (f"simulated-{number}",),
                )
                await asyncio.sleep(RENEWAL_SECONDS / self._count)


class _Subscriber(asyncio.Protocol):
    """A client of NATS that subscribes, and counts what comes."""

    def __init__(self, subjects: list[str]) -> None:
        self._subjects = subjects
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        lines = [f"SUB {subject} {n}\r\n" for n, subject in enumerate(self._subjects)]
        self._transport.write(b'CONNECT {"verbose":false}\r\n' + "".join(lines).encode())
        self._transport.write(b"PING\r\n")

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self.received += data.count(b"MSG operator.session.")
        if b"PING\r\n" in data:
            self._transport.write(b"PONG\r\n")
        if b"PONG\r\n" in data and not self.ready.done():
            self.ready.set_result(None)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
