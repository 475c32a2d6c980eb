"""A relay between the service and PostgreSQL that can be moved, closed, frozen, and made to lose
answers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

SOCKET = ".s.PGSQL.5432"
CHUNK = 65536

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """Listens on PostgreSQL's socket in ``folder`` and on the TCP ``port``, and carries bytes to
    the socket in ``target``.

    ``target`` may be set anew: connections that are open stay where they are. Where it is None,
    new connections are refused.
    """

    def __init__(self, target: Path | None) -> None:
        self.target = target
        self.folder = Path(tempfile.mkdtemp(prefix="operator-relay-"))
        self.folder.chmod(0o755)
        self.port = 0
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._lose: Callable[[bytes], bool] = lambda _: False
        self._cut = True
        self.accepted = 0
        """Connections that came, answered or not."""
        self.lost = 0
        """Answers that were lost."""

    async def __aenter__(self) -> Relay:
        self._servers = [
            await asyncio.start_unix_server(self._accept, self.folder / SOCKET),
            await asyncio.start_server(self._accept, "127.0.0.1", 0),
        ]
        self.port = self._servers[1].sockets[0].getsockname()[1]
        (self.folder / SOCKET).chmod(0o777)  # whoever runs PgBouncer may connect
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        shutil.rmtree(self.folder)

    def freeze(self) -> None:
        """Carry nothing any more, and close nothing."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Carry on where it stopped."""
        self._thawed.set()

    def lose_answers(self, which: Callable[[bytes], bool], *, cut: bool = True) -> None:
        """Lose the answers that ``which`` picks, by what the server sent of them: what was asked
        for is done, and the client's connection is cut before it hears so. Where it is not
        ``cut`` it stays, and nothing comes by it any more."""
        self._lose, self._cut = which, cut

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.accepted += 1
        try:
            await self._thawed.wait()
            if self.target is None:
                return
            server = await asyncio.open_unix_connection(self.target / SOCKET)
            try:
                await self._join((reader, writer), server)
            finally:
                server[1].transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # nobody is there, or the test is over
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _join(self, client: Ends, server: Ends) -> None:
        carriers = [
            asyncio.create_task(self._carry(client[0], server[1], lambda _: False)),
            asyncio.create_task(self._carry(server[0], client[1], lambda data: self._lose(data))),
        ]
        try:
            await asyncio.wait(carriers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for carrier in carriers:
                carrier.cancel()
            await asyncio.gather(*carriers, return_exceptions=True)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lose: Callable[[bytes], bool],
    ) -> None:
        mute = False
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._thawed.wait()
                if not mute and lose(data):
                    self.lost += 1
                    if self._cut:
                        return
                    mute = True
                if not mute:
                    writer.write(data)
                    await writer.drain()
