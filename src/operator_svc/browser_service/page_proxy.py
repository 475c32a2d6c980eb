"""The filtering forward proxy of one page: the only network that its Chromium context has.

Each page has a proxy on its own loopback port. So bytes are counted for the page that moves
them, and closing the port ends all of its connections.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from operator_svc.background import AsyncCloseable, TaskOwner
from operator_svc.browser_service import http_heads
from operator_svc.browser_service.addresses import Address
from operator_svc.browser_service.egress_policy import EgressPolicy, UnreachableError
from operator_svc.browser_service.proxy_connection import ProxyConnection

MAX_CONNECTIONS = 256
MAX_CONCURRENT_LOOKUPS = 8
MAX_HOSTS = 1000
"""Hosts that one page may look up, and failures that are remembered for it."""

DEFAULT_PORTS = {"http": 80, "https": 443}


class FailedHost(NamedTuple):
    """A host and port that the page did not reach; ``blocked`` where the policy refused it."""

    host: str
    port: int
    reason: str
    blocked: bool


class PageProxy(AsyncCloseable):
    """The proxy of one page, as a context manager: it listens inside, and exit cuts everything.

    ``max_bytes`` bounds the bytes of both directions together. Past it ``over_limit`` is set
    and all connections are cut.
    """

    def __init__(self, policy: EgressPolicy, max_bytes: int) -> None:
        self._policy = policy
        self._max_bytes = max_bytes
        self.tasks = TaskOwner("page proxy")
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._lookups: dict[str, asyncio.Task[tuple[Address, ...] | UnreachableError]] = {}
        self._lookup_permits = asyncio.Semaphore(MAX_CONCURRENT_LOOKUPS)
        self.transferred = 0
        self.over_limit = asyncio.Event()
        self.failures: dict[tuple[str, int], FailedHost] = {}

    @property
    def url(self) -> str:
        """The proxy's address as Chromium is given it."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, limit=http_heads.MAX_RESPONSE_HEAD
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._policy.proxy_ports.add(self._port)
        return self

    async def aclose(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            self._server.close()
        self._policy.proxy_ports.discard(self._port)
        self._abort_connections()
        await self.tasks.aclose()

    async def authorize(self, host: str, port: int) -> tuple[Address, ...]:
        """Return the addresses to connect to for ``host``; raises UnreachableError.

        A name is looked up once a page; its addresses are checked each time.
        """
        lookup = self._lookups.get(host)
        if lookup is None:
            if len(self._lookups) >= MAX_HOSTS:
                raise UnreachableError("the page uses too many hosts", blocked=False)
            lookup = self._lookups[host] = self.tasks.start(self._look_up(host), "lookup")
        try:
            # Shielded: one of several callers that wait for it may be cancelled.
            answer = await asyncio.shield(lookup)
            if isinstance(answer, UnreachableError):
                raise answer
            return self._policy.check(host, port, answer)
        except UnreachableError as error:
            self._record_failure(host, port, error)
            raise

    def connect_failed(self, host: str, port: int, reason: str) -> UnreachableError:
        """Record that an authorized server does not answer; returns the error to raise."""
        error = UnreachableError(f"{host}:{port} cannot be reached: {reason}", blocked=False)
        self._record_failure(host, port, error)
        return error

    def failure_reason(self, url: str) -> str | None:
        """The reason that the host of ``url`` was not reached, where the proxy has seen it."""
        failure = self.failures.get(self.host_and_port(url))
        return failure.reason if failure is not None else None

    @staticmethod
    def host_and_port(url: str) -> tuple[str, int]:
        """The host and port of a web address in Chromium's spelling."""
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)

    def count_bytes(self, size: int) -> bool:
        """Add ``size`` bytes; False, and all connections are cut, past the page's limit."""
        self.transferred += size
        if self.transferred <= self._max_bytes:
            return True
        self.over_limit.set()
        self._abort_connections()
        return False

    def _record_failure(self, host: str, port: int, error: UnreachableError) -> None:
        if len(self.failures) < MAX_HOSTS:
            key = (host.strip("[]"), port)
            self.failures[key] = FailedHost(*key, error.reason, error.blocked)

    async def _look_up(self, host: str) -> tuple[Address, ...] | UnreachableError:
        async with self._lookup_permits:
            try:
                return await self._policy.resolve(host)
            except UnreachableError as error:
                return error

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= MAX_CONNECTIONS or self.over_limit.is_set():
            writer.transport.abort()
            return
        self._writers.add(writer)
        self.tasks.start(self._serve(reader, writer), "connection")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await ProxyConnection(self).serve(reader, writer)
        finally:
            self._writers.discard(writer)

    def _abort_connections(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
