"""The pieces of a response's body, each given to a function in the call that brings it.

aiohttp hands a body to a task, which costs a future, a turn of the event loop and a step of each
coroutine for every piece. Most pieces need none of it: they are read, shown and forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp.streams import StreamReader


class BodyTap(asyncio.Protocol):
    """Stands between ``transport`` and its ``protocol``, which goes on to parse what comes.

    ``take`` is called with each piece of ``content`` that comes while a ``read`` waits. It returns
    False for one that it leaves to the task that reads.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        content: StreamReader,
        take: Callable[[bytes], bool],
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._content = content
        self._take = take
        self._waiter: asyncio.Future[bytes] | None = None
        transport.set_protocol(self)

    def remove(self) -> None:
        """Leave the connection to its own protocol."""
        self._transport.set_protocol(self._protocol)

    async def read(self) -> bytes:
        """The next piece that is left to the reader, none at the end.

        Raises what the body failed with, aiohttp.ClientError, and what ``take`` raises.
        """
        piece = self._next()
        if piece is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                piece = await self._waiter
            finally:
                self._waiter = None
        return piece

    def look(self) -> None:
        """Take what has come, or wake the task that reads; also where the body has failed."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        try:
            piece = self._next()
        except Exception as error:  # raised where the body is read
            if not waiter.done():
                waiter.set_exception(error)
        else:
            if piece is not None and not waiter.done():  # ``take`` may have stopped the reader
                waiter.set_result(piece)

    def _next(self) -> bytes | None:
        """The next piece that is left to the reader, none at the end; None before it has come."""
        content = self._content
        while piece := content.read_nowait():
            if not self._take(piece):
                return piece
        return b"" if content.at_eof() else None

    # What a transport calls.

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._protocol.data_received(data)
        self.look()

    def eof_received(self) -> bool | None:
        """See asyncio.Protocol."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._protocol.connection_lost(exc)
        self.look()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._protocol.resume_writing()
