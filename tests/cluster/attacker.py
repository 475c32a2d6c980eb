"""Attacks a service from one address of this machine: a process of its own.

    python -m tests.cluster.attacker HOST PORT ADDRESS TOKEN SECONDS

Runs all attacks of ``attacks.ATTACKS`` at once for SECONDS, then prints one line of JSON: what
each was answered, as counts by status, by close code of a websocket, or by what became of it.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import os
import resource
import secrets
import socket
import sys
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

PATIENCE = 15.0
"""Seconds for which an answer is waited for, and a connection is held."""
PAUSE = 0.1
"""Seconds between two rounds of an attack: what it costs to try is little, also here."""
SMALL_BUFFER = 4096
TCP_CLOSED = (7, 8)
"""TCP_CLOSE and TCP_CLOSE_WAIT: the service has ended the connection."""
NICENESS = 10
"""The machines of attackers do not take the honest client's processor; here they would."""


@functools.cache
def bomb() -> bytes:
    """A megabyte that inflates to a gigabyte; its checksum, which comes last, is wrong."""
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(b"x") + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + piece * 1000 + packer.flush()


class Target(NamedTuple):
    """The service, and the attacker's own address and token."""

    host: str
    port: int
    address: str
    token: str


class Line:
    """A connection that is read or not, as an attack wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        """Send without waiting."""
        self._writer.write(data)

    async def status(self) -> str:
        """The status of the next answer, whose body is read where its length is known."""
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            _, found, rest = head.partition("content-length: ")
            if found:
                await self._reader.readexactly(int(rest.partition("\r")[0]))
        return head.split(" ", 2)[1]

    async def close_code(self) -> str:
        """The code with which a websocket is closed; other frames are read past."""
        async with asyncio.timeout(PATIENCE):
            while True:
                first, size = await self._reader.readexactly(2)
                if size >= 126:
                    more = await self._reader.readexactly(2 if size == 126 else 8)
                    size = int.from_bytes(more)
                data = await self._reader.readexactly(size)
                if first & 15 == 8:
                    return str(int.from_bytes(data[:2]))

    async def held(self, seconds: float = PATIENCE, drip: bytes = b"") -> str:
        """Read nothing, sending ``drip`` each half second: "held" to the end, or "cut"."""
        name = self._writer.get_extra_info("socket")
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.5)  # how often a stalled client looks
            if self._writer.is_closing():
                return "cut"
            if name.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in TCP_CLOSED:
                return "cut"
            self._writer.write(drip)
        return "held"


class Attacker:
    """One attack; counts what it is answered."""

    def __init__(self, target: Target) -> None:
        self.address = target.address
        self.answers: Counter[str] = Counter()
        self._target = target

    @asynccontextmanager
    async def line(self, *, unread: bool = False) -> AsyncIterator[Line]:
        """A new connection; ``unread`` has a small buffer, and takes nothing from it."""
        end = socket.socket()
        if unread:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        end.setblocking(False)
        end.bind((self.address, 0))
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_connect(end, self._target[:2])
            reader, writer = await asyncio.open_connection(sock=end)
        if unread:
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # of asyncio.Transport
        try:
            yield Line(reader, writer)
        finally:
            writer.transport.abort()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        more: str = "",
    ) -> bytes:
        """A whole request; ``body`` is encoded unless it is bytes, ``more`` are header lines."""
        token = self._target.token if token is None else token
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        data = b"" if body is None else data
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{more}"
        head += f"X-VX11-Token: {token}\r\n" if token else ""
        head += f"Content-Length: {len(data)}\r\n" if body is not None else ""
        return head.encode() + b"\r\n" + data

    async def ask(self, method: str, path: str, body: object = None, **how: str) -> str:
        """Send one request on a connection of its own, and count the status of its answer."""
        async with self.line() as line:
            line.send(self.request(method, path, body, **how))
            status = await line.status()
        self.answers[status] += 1
        return status

    def handshake(self, path: str, *, token: str | None = None, more: str = "") -> bytes:
        """The request for a websocket."""
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        more += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        return self.request("GET", path, token=token, more=f"{more}Sec-WebSocket-Key: {key}\r\n")


def frame(data: bytes, *, first: int = 0x81, masked: bool = True) -> bytes:
    """A websocket frame; its mask changes nothing."""
    mask = 0x80 if masked else 0
    size = len(data)
    head = (
        bytes([first, mask | size]) if size < 126
        else bytes([first, mask | 126]) + size.to_bytes(2) if size < 65536
        else bytes([first, mask | 127]) + size.to_bytes(8)
    )  # fmt: skip
    return head + (b"\0\0\0\0" if masked else b"") + data


async def run(target: Target, seconds: float) -> dict[str, Counter[str]]:
    """All attacks at once; the answers of each."""
    from tests.cluster.attacks import ATTACKS, TRIED

    attackers = {attack.__name__: Attacker(target) for attack in ATTACKS}

    async def again_and_again(name: str, attack: object) -> None:
        me = attackers[name]
        while True:
            me.answers[TRIED] += 1
            try:
                await attack(me)  # type: ignore[operator]
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                # A refused or broken connection is an answer, too.
                me.answers[type(error).__name__] += 1
            await asyncio.sleep(PAUSE)

    running = [
        asyncio.create_task(again_and_again(attack.__name__, attack))
        for attack, count in ATTACKS.items()
        for _ in range(count)
    ]
    await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    failed = [task for task in running if task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for task in failed:
        task.result()
    return {name: me.answers for name, me in attackers.items()}


def main(host: str, port: str, address: str, token: str, seconds: str) -> None:
    """Attack, and tell."""
    os.nice(NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    told = asyncio.run(run(Target(host, int(port), address, token), float(seconds)))
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
