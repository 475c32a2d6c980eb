"""HTTP/1.1 calls to one address, over connections that are kept for the next call.

aiohttp's session builds each request from a URL and tables of headers, which is most of what a
call costs. The calls to one peer differ in their target, a few headers and the body; the rest is
encoded once. Its connector looks names up, tries all addresses and speaks TLS.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from operator_svc.peers.http_connection import PeerConnection
from operator_svc.peers.http_response import Response
from operator_svc.peers.time_limit import TimeLimit

_NO_TIMEOUT = aiohttp.ClientTimeout()
_UNSAFE = re.compile(r"[\r\n\0]").search


class HttpClient:
    """Calls to the address of ``url``, with ``headers``.

    Follows no redirects and keeps no cookies. The only limit in time is ``connect_timeout``, in
    seconds, for a connection to be made; one that is idle is kept for ``keep_alive`` seconds.
    """

    def __init__(
        self, url: URL, headers: Mapping[str, str], connect_timeout: float, keep_alive: float
    ) -> None:
        self.url = url
        self.headers: CIMultiDict[str] = CIMultiDict(headers)
        self.idle: list[PeerConnection] = []
        """The connections that nobody uses, in the order in which they became idle."""
        self._connections: set[PeerConnection] = set()
        self._connect_timeout = connect_timeout
        self._keep_alive = keep_alive
        self._timer: asyncio.TimerHandle | None = None
        self._encoded: dict[tuple[str, ...], str] = {}
        self._connector: tuple[aiohttp.TCPConnector, aiohttp.ClientRequest] | None = None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._connections):
            connection.close()
        if self._connector is not None:
            await self._connector[0].close()

    async def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Send a call, whose body is JSON, and wait for the head of its response.

        Raises aiohttp.ClientError and OSError, of these aiohttp.ConnectionTimeoutError where no
        connection was made in time, and NotSentError.
        """
        connector, origin = self._open()
        head = self._head(method, target, headers, body)
        connection = self._take_idle() or await self._connect(connector, origin)
        response = connection.ask(head + body if body else head)
        try:
            await response.head()
        except BaseException:
            response.close()
            raise
        return response

    def _take_idle(self) -> PeerConnection | None:
        while self.idle:
            connection = self.idle.pop()
            if not connection.is_closing:
                return connection
        return None

    async def _connect(
        self, connector: aiohttp.TCPConnector, origin: aiohttp.ClientRequest
    ) -> PeerConnection:
        try:
            async with TimeLimit(self._connect_timeout):
                made = await connector.connect(origin, [], _NO_TIMEOUT)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"no connection to {origin.url.host}") from error
        connection = PeerConnection(made, self._keep, self._forget)
        self._connections.add(connection)
        return connection

    def _keep(self, connection: PeerConnection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self.idle.append(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._keep_alive, self._close_idle, loop)

    def _forget(self, connection: PeerConnection) -> None:
        self._connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def _close_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the connections that were idle for long enough."""
        self._timer = None
        old = loop.time() - self._keep_alive
        while self.idle and self.idle[0].idle_since <= old:
            self.idle.pop(0).close()
        if self.idle:
            due = self.idle[0].idle_since + self._keep_alive
            self._timer = loop.call_at(due, self._close_idle, loop)

    def _open(self) -> tuple[aiohttp.TCPConnector, aiohttp.ClientRequest]:
        """The connector, and a request that tells it where to connect to."""
        if self._connector is None:
            self._connector = (
                aiohttp.TCPConnector(limit=0),
                aiohttp.ClientRequest("GET", self.url, loop=asyncio.get_running_loop()),
            )
            self.headers.setdefault("Host", self._connector[1].headers["Host"])
        return self._connector

    def _head(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        names = tuple(headers)
        fixed = self._encoded.get(names)
        if fixed is None:
            others = CIMultiDict(self.headers)
            for name in names:
                others.popall(name, None)
            fixed = self._encoded[names] = _lines(others.items())
        size = "" if body is None else _CONTENT.format(len(body))
        lines = _lines(headers.items())
        return f"{method} {target} HTTP/1.1\r\n{fixed}{lines}{size}\r\n".encode()


_CONTENT = "Content-Type: application/json\r\nContent-Length: {}\r\n"


def _lines(headers: Iterable[tuple[str, str]]) -> str:
    """The lines of headers; raises ValueError for one that would not be one line."""
    lines = [f"{name}: {value}" for name, value in headers]
    for line in lines:
        if _UNSAFE(line):
            raise ValueError(f"the header {line.partition(':')[0]!r} has a line break or NUL")
    return "".join(f"{line}\r\n" for line in lines)
