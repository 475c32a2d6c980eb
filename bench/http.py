"""A client that costs little: HTTP/1.1 over one connection, requests and answers as bytes.

aiohttp's client would need more CPU than the servers that are measured here.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

import msgspec

from bench.processes import TOKEN, Process


def request(
    process: Process,
    method: str,
    path: str,
    body: bytes = b"",
    headers: str = "",
    token: str = f"X-VX11-Token: {TOKEN}",
) -> bytes:
    """The bytes of a request; ``token`` is the header that brings it."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {process.host}:{process.port}\r\n"
        f"{token}\r\nAccept: application/json\r\n{headers}"
    )
    if method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class CallFailedError(Exception):
    """An answer that is not 2xx, or none."""


class HttpConnection(asyncio.Protocol):
    """One connection, one request at a time; ``on_answer`` gets each whole answer's body, and
    ``on_failure`` what came instead."""

    def __init__(
        self, on_answer: Callable[[bytes], None], on_failure: Callable[[CallFailedError], None]
    ) -> None:
        self._on_answer = on_answer
        self._on_failure = on_failure
        self._buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    @property
    def is_open(self) -> bool:
        """True while requests can be sent."""
        return self.transport is not None and not self.transport.is_closing()

    def connection_lost(self, error: Exception | None) -> None:
        self._on_failure(CallFailedError("the connection was closed"))

    def send(self, data: bytes) -> None:
        """Send a request."""
        assert self.transport is not None
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        head_end = buffer.find(b"\r\n\r\n")
        if head_end < 0:
            self._buffer = buffer
            return
        at = buffer.lower().find(b"content-length:", 0, head_end)
        length = int(buffer[at + 15 : buffer.find(b"\r", at)]) if at >= 0 else 0
        if len(buffer) < head_end + 4 + length:
            self._buffer = buffer
            return
        self._buffer = b""
        if buffer[9:10] != b"2":
            self._on_failure(CallFailedError(buffer[:1000].decode(errors="replace")))
        else:
            self._on_answer(buffer[head_end + 4 :])

    def close(self) -> None:
        """Close it."""
        if self.transport is not None:
            self.transport.abort()


async def call(process: Process, method: str, path: str, body: Any = None) -> Any:
    """One call; its answer's JSON, or the bytes of one that is none."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def failed(error: CallFailedError) -> None:
        if not done.done():
            done.set_exception(error)

    _, connection = await loop.create_connection(
        lambda: HttpConnection(done.set_result, failed), process.host, process.port
    )
    raw = b"" if body is None else msgspec.json.encode(body)
    connection.send(request(process, method, path, raw))
    try:
        answer = await asyncio.wait_for(done, 30)
    finally:
        connection.close()
    try:
        return msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return answer


class Load:
    """``clients`` connections that ask again as soon as they are answered.

    ``make`` gives the next request of a client, by its number; ``seconds`` has the duration of
    each answer that came while it was measured.
    """

    def __init__(self, process: Process, clients: int, make: Callable[[int], bytes]) -> None:
        self.process = process
        self._clients = clients
        self._make = make
        self._connections: dict[int, HttpConnection] = {}
        self._sent: list[float] = [0.0] * clients
        self._open = 0
        self._going = False
        self._idle = asyncio.Event()
        self._failure: CallFailedError | None = None
        self._left = 0
        self.seconds: list[float] = []

    async def connect(self) -> None:
        """Open the connections that are not open; servers close those that wait for long."""
        loop = asyncio.get_running_loop()
        for number in range(self._clients):
            if number in self._connections and self._connections[number].is_open:
                continue
            answered = functools.partial(self._answered, number)
            _, connection = await loop.create_connection(
                functools.partial(HttpConnection, answered, self._failed),
                self.process.host,
                self.process.port,
            )
            self._connections[number] = connection

    async def run(self, seconds: float) -> float:
        """Ask for so many seconds, then wait for the last answers; how long that took."""
        await self.connect()
        self.seconds = []
        self._idle.clear()
        self._going = True
        begun = perf_counter()
        for number in range(self._clients):
            self._ask(number)
        asyncio.get_running_loop().call_later(seconds, self._stop)
        await asyncio.wait_for(self._idle.wait(), seconds + 30)
        if self._failure is not None:
            raise self._failure
        return perf_counter() - begun

    async def run_count(self, count: int) -> float:
        """Ask so many times in all; how long that took."""
        self._left = count
        make, stop = self._make, self._stop

        def counted(number: int) -> bytes:
            self._left -= 1
            if self._left <= 0:
                stop()
            return make(number)

        self._make = counted
        try:
            return await self.run(600)
        finally:
            self._make = make

    def _stop(self) -> None:
        self._going = False

    def _failed(self, error: CallFailedError) -> None:
        if self._going:
            self._failure = error
            self._going = False
            self._idle.set()

    def _ask(self, number: int) -> None:
        self._open += 1
        self._sent[number] = perf_counter()
        self._connections[number].send(self._make(number))

    def _answered(self, number: int, _: bytes) -> None:
        self.seconds.append(perf_counter() - self._sent[number])
        self._open -= 1
        if self._going:
            self._ask(number)
        elif not self._open:
            self._idle.set()

    def close(self) -> None:
        """Close the connections."""
        self._going = False
        for connection in self._connections.values():
            connection.close()
