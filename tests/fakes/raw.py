"""A server that speaks HTTP as badly as a test wants, byte by byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Behaviour = Callable[["Connection"], Awaitable[None]]

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
CLOSE_SECONDS = 30.0
"""Seconds that connections may take to end once they are aborted, on any machine."""


class Connection:
    """One connection of a client."""

    def __init__(
        self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self.gone = asyncio.Event()
        """Set when the client is found to have left."""

    async def request(self) -> bytes:
        """The next request, head and body; raises IncompleteReadError where none comes."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = await self._reader.readexactly(length)
        self._server.requests.append(head + body)
        return head + body

    async def send(self, data: bytes) -> None:
        """Send ``data`` as it is."""
        self._writer.write(data)
        await self._writer.drain()

    async def dribble(self, data: bytes, pause: float = 0.0) -> None:
        """Send ``data`` one byte at a time."""
        for position in range(len(data)):
            await self.send(data[position : position + 1])
            await asyncio.sleep(pause)

    async def json(self, body: bytes) -> None:
        """A whole JSON answer that keeps the connection."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        await self.send(head % len(body) + body)

    async def chunk(self, data: bytes) -> None:
        """A chunk of a chunked answer."""
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def end(self) -> None:
        """The end of a chunked answer."""
        await self.send(b"0\r\n\r\n")

    def half_close(self) -> None:
        """Say that no more comes, and go on listening."""
        self._writer.write_eof()

    def close(self) -> None:
        """Close in good order."""
        self._writer.close()

    def reset(self) -> None:
        """Close with RST, as a process that was killed does."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def until_gone(self) -> None:
        """Wait until the client closes."""
        with suppress(ConnectionError):
            while await self._reader.read(65536):
                pass
        self.gone.set()
        self._server.left.set()


class RawServer:
    """Listens on a free port and lets ``behaviour`` answer each connection."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.connections = 0
        self.requests: list[bytes] = []
        self.left = asyncio.Event()
        """Set when a client left while ``until_gone`` waited for that."""
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        self.connections += 1
        try:
            await self.behaviour(Connection(self, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    @asynccontextmanager
    async def running(
        self, sock: socket.socket | None = None, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[RawServer]:
        """Listen, on ``sock`` where one is given, and by ``tls`` where that is."""
        if sock is None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        else:
            server = await asyncio.start_server(self._serve, sock=sock, ssl=tls)
        self.url = address_of(server.sockets[0])
        if tls is not None:
            self.url = self.url.replace("http:", "https:")
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()
            await self._abort_connections()

    async def _abort_connections(self) -> None:
        """Leave none to an event loop that closes: TLS takes some of its turns to end."""
        for writer in self._writers:
            writer.transport.abort()
        closing = (writer.wait_closed() for writer in self._writers)
        async with asyncio.timeout(CLOSE_SECONDS):
            await asyncio.gather(*closing, return_exceptions=True)


@asynccontextmanager
async def raw_server(behaviour: Behaviour) -> AsyncIterator[RawServer]:
    """A RawServer for the time of the block."""
    async with RawServer(behaviour).running() as server:
        yield server


def address_of(sock: socket.socket) -> str:
    """The address of a socket that is bound to a port of this machine."""
    return f"http://127.0.0.1:{sock.getsockname()[1]}"


def dead_address() -> str:
    """An address where nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return address_of(sock)


@asynccontextmanager
async def full_backlog() -> AsyncIterator[str]:
    """An address where connecting takes for ever: nobody accepts, and the queue is full."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        waiting = []
        try:
            for _ in range(4):
                client = socket.socket()
                client.setblocking(False)
                with suppress(BlockingIOError):
                    client.connect(sock.getsockname())
                waiting.append(client)
            await asyncio.sleep(0.05)  # the kernel completes or drops what was begun
            yield address_of(sock)
        finally:
            for client in waiting:
                client.close()
