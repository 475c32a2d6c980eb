"""A client that speaks HTTP byte by byte, as badly as a test wants."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.fakes.eventually import WITHIN
from tests.rest.rest_service import TOKEN, Service

SOON = 10.0
"""Seconds; what this shows to be cut off at once would else be after the 15 s of a head."""
HEAD = b"POST /operator/chat HTTP/1.1\r\nHost: x\r\nX-VX11-Token: " + TOKEN.encode() + b"\r\n"


def post(body: bytes) -> bytes:
    """A whole request for a chat."""
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def get(path: str) -> bytes:
    """A whole request without a token."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


class RawConnection:
    """A connection that sends what the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One answer: status, headers by lower name, body."""
        async with asyncio.timeout(WITHIN):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split()[1]), headers, body

    async def status(self, request: bytes) -> int:
        """The status of the answer to a request."""
        self.send(request)
        return (await self.answer())[0]

    async def closed(self, within: float = WITHIN) -> float:
        """Wait until the server closes; the seconds it took."""
        begun = time.monotonic()
        async with asyncio.timeout(within):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return time.monotonic() - begun

    async def open(self) -> bool:
        """True while the server still holds it."""
        try:
            async with asyncio.timeout(0.05):
                return await self.reader.read(1) != b""
        except TimeoutError:
            return True
        except ConnectionError:
            return False


@asynccontextmanager
async def raw(service: Service, host: str | None = None) -> AsyncIterator[RawConnection]:
    """A connection to the service, from the address ``host`` of this machine."""
    parts = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port, local_addr=(host, 0) if host else None
    )
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()


class Unread:
    """A socket with a small buffer, whose client reads when the test says so."""

    def __init__(self, service: Service) -> None:
        parts = urlsplit(service.url)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect((parts.hostname, parts.port))
        self.socket.setblocking(False)

    def send(self, data: bytes) -> None:
        self.socket.send(data)

    async def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; empty where the server has closed."""
        try:
            async with asyncio.timeout(WITHIN):
                return await asyncio.get_running_loop().sock_recv(self.socket, size)
        except ConnectionError:
            return b""

    async def is_cut(self) -> bool:
        """True where the connection was reset, or ends after what is there to read."""
        state: int = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state in (7, 8)  # TCP_CLOSE, TCP_CLOSE_WAIT

    def close(self) -> None:
        self.socket.close()
