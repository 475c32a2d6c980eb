"""A lane: the filtering forward proxy of one page, and the only way out that Chromium has.

Each browser context is given a proxy on a loopback port of its own, so what passes is counted
for the right page, and ends with it.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

from operator_svc.background import TaskOwner
from operator_svc.browser_service import http_heads
from operator_svc.browser_service.addresses import Address
from operator_svc.browser_service.egress_policy import EgressPolicy, UnreachableError
from operator_svc.browser_service.proxy_connection import ProxyConnection

MAX_CONNECTIONS = 256
MAX_RESOLUTIONS = 8
MAX_HOSTS = 1000

PORTS = {"http": 80, "https": 443}


class Refusal(NamedTuple):
    """A host and port that the page did not get to."""

    host: str
    port: int
    reason: str
    blocked: bool


class PageProxy:
    """The proxy of one page: ``async with Lane(...)`` listens, leaving it cuts everything.

    ``max_bytes`` bounds what passes in both directions; past it ``overweight`` is set and
    nothing passes any more.
    """

    def __init__(self, gate: EgressPolicy, max_bytes: int) -> None:
        self._gate = gate
        self._max_bytes = max_bytes
        self.tasks = TaskOwner("lane")
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._hosts: dict[str, asyncio.Task[tuple[Address, ...] | UnreachableError]] = {}
        self._resolving = asyncio.Semaphore(MAX_RESOLUTIONS)
        self.transferred = 0
        self.overweight = asyncio.Event()
        self.refusals: dict[tuple[str, int], Refusal] = {}

    @property
    def url(self) -> str:
        """The proxy's address, as Chromium is given it."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> PageProxy:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, limit=http_heads.MAX_RESPONSE_HEAD
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._gate.own_ports.add(self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._gate.own_ports.discard(self._port)
        self._cut()
        await self.tasks.aclose()

    async def judge(self, host: str, port: int) -> tuple[Address, ...]:
        """The addresses that may be connected to for ``host``; raises UnreachableError.

        A name is looked up once a page: whoever asks again gets the first answer.
        """
        task = self._hosts.get(host)
        if task is None:
            if len(self._hosts) >= MAX_HOSTS:
                raise UnreachableError("the page uses too many hosts", blocked=False)
            task = self._hosts[host] = self.tasks.start(self._look_up(host), "look up")
        try:
            # Shielded: one of several who wait may go away.
            answer = await asyncio.shield(task)
            if isinstance(answer, UnreachableError):
                raise answer
            self._gate.check_port(answer, port)
        except UnreachableError as refused:
            self._note(host, port, refused)
            raise
        return answer

    def unreachable(self, host: str, port: int, reason: str) -> UnreachableError:
        """Note that a server that may be connected to does not answer."""
        failure = UnreachableError(f"{host}:{port} can not be reached: {reason}", blocked=False)
        self._note(host, port, failure)
        return failure

    def why(self, url: str) -> str | None:
        """Why the host of ``url`` was not reached, where the lane knows."""
        refusal = self.refusals.get(self.where(url))
        return refusal.reason if refusal is not None else None

    @staticmethod
    def where(url: str) -> tuple[str, int]:
        """The host and port of a web address as Chromium writes it."""
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)

    def count(self, size: int) -> bool:
        """Note ``size`` bytes; False, and all connections are cut, past the page's limit."""
        self.transferred += size
        if self.transferred <= self._max_bytes:
            return True
        self.overweight.set()
        self._cut()
        return False

    def _note(self, host: str, port: int, failure: UnreachableError) -> None:
        if len(self.refusals) < MAX_HOSTS:
            key = (host.strip("[]"), port)
            self.refusals[key] = Refusal(*key, failure.reason, failure.blocked)

    async def _look_up(self, host: str) -> tuple[Address, ...] | UnreachableError:
        async with self._resolving:
            try:
                return await self._gate.addresses(host)
            except UnreachableError as refused:
                return refused

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= MAX_CONNECTIONS or self.overweight.is_set():
            writer.transport.abort()
            return
        self._writers.add(writer)
        self.tasks.start(self._serve(reader, writer), "connection")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await ProxyConnection(self).serve(reader, writer)
        finally:
            self._writers.discard(writer)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
