"""HTTP/1.1 calls to one address, over connections that aiohttp's connector makes and keeps.

aiohttp's session builds each request from a URL and tables of headers, which is most of what a
call costs. The calls to one peer differ in their target, a few headers and the body; the rest is
encoded once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDict
from yarl import URL

from operator_svc.peers.body_tap import BodyTap

_UNSAFE = re.compile(r"[\r\n\0]").search


class NotSentError(aiohttp.ClientConnectionError):
    """Raised for a call whose connection was lost before any of it was written."""


class Response:
    """A response whose head has come; ``content`` is its body.

    Its connection serves the next call once the body has ended. ``close`` before that closes it.
    """

    def __init__(
        self, connection: Connection, message: RawResponseMessage, content: StreamReader
    ) -> None:
        self.connection: Connection | None = connection
        """None once all of the body has come."""
        self.status = message.code
        self.headers = message.headers
        self.content = content
        self._tap: BodyTap | None = None
        content.on_eof(self._release)

    @property
    def content_type(self) -> str:
        """The media type, without parameters; empty where there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def tap(self, take: Callable[[bytes], bool]) -> BodyTap | None:
        """Have ``take`` called with each piece of the body that comes from now on, as BodyTap says.
        None where all of the body has come, or the connection was lost.
        """
        connection = self.connection
        if connection is None or connection.transport is None or connection.protocol is None:
            return None
        self._tap = BodyTap(connection.transport, connection.protocol, self.content, take)
        return self._tap

    def close(self) -> None:
        """Close the connection, unless the body has ended."""
        connection, self.connection = self.connection, None
        if connection is not None:
            if self.content.exception() is None:
                self.content.set_exception(aiohttp.ClientConnectionError("Connection closed"))
            connection.close()

    def _release(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            if self._tap is not None:
                self._tap.remove()
            connection.release()


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
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout)
        self._keep_alive = keep_alive
        self._encoded: dict[tuple[str, ...], str] = {}
        self._pool: tuple[aiohttp.TCPConnector, aiohttp.ClientRequest] | None = None

    @property
    def connector(self) -> aiohttp.TCPConnector:
        """The connections."""
        return self._open()[0]

    async def aclose(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool[0].close()

    async def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        """Send a call, whose body is JSON, and wait for the head of its response.

        Raises aiohttp.ClientError and OSError, of these aiohttp.ConnectionTimeoutError where no
        connection was made in time, and NotSentError.
        """
        connector, origin = self._open()
        head = self._head(method, target, headers, body)
        try:
            connection = await connector.connect(origin, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"no connection to {origin.url.host}") from error
        try:
            transport, protocol = connection.transport, connection.protocol
            if transport is None or protocol is None or transport.is_closing():
                raise NotSentError("the connection was lost")
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            transport.write(head + body if body else head)
            message, content = await protocol.read()
            while 100 <= message.code <= 199 and message.code != 101:  # the response follows
                message, content = await protocol.read()
        except HttpProcessingError as error:
            connection.close()
            raise aiohttp.ClientResponseError(
                origin.request_info, (), status=error.code, message=error.message
            ) from error
        except BaseException:
            connection.close()
            raise
        return Response(connection, message, content)

    def _open(self) -> tuple[aiohttp.TCPConnector, aiohttp.ClientRequest]:
        """The connector, and a request that tells it where to connect to."""
        if self._pool is None:
            self._pool = (
                aiohttp.TCPConnector(limit=0, keepalive_timeout=self._keep_alive),
                aiohttp.ClientRequest("GET", self.url, loop=asyncio.get_running_loop()),
            )
            self.headers.setdefault("Host", self._pool[1].headers["Host"])
        return self._pool

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
