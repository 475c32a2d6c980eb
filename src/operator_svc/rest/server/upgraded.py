"""Connections of websockets after the handshake.

aiohttp keeps its parser, the request with its headers and two tasks until a socket closes, which
is most of the memory of an idle one. Here a connection leaves aiohttp's server once it is upgraded.
"""

from __future__ import annotations

import asyncio

from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WebSocketReader

from operator_svc import telemetry
from operator_svc.rest.server import tcp
from operator_svc.rest.server.admission import STALL, Admission
from operator_svc.rest.server.masked_frames import MaskedFrames
from operator_svc.rest.server.progress import Progress, WatchedProtocol

READ_AHEAD = 256 * 1024
"""Bytes of messages that wait to be read; a client with twice as many has to wait (aiohttp's own
number)."""


class UpgradedConnection(WatchedProtocol):
    """One websocket's connection, with a place of its own. ``messages`` are what the client sends;
    reading them raises EofStream at the end, and WebSocketError for a fault of the protocol."""

    __slots__ = ("_admission", "_ended", "_reader", "address", "messages", "progress")

    def __init__(
        self,
        admission: Admission,
        progress: Progress,
        address: str,
        max_message: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(loop)
        self._upgraded = True  # there is no parser to pause
        self._admission = admission
        self.progress = progress
        progress.begin_told()
        self._ended = False
        self.address = address
        self.messages = WebSocketDataQueue(self, READ_AHEAD, loop=loop)
        self._reader: MaskedFrames | None = MaskedFrames(
            WebSocketReader(self.messages, max_message, compress=False, decode_text=True)
        )

    def begin(self, transport: asyncio.Transport, received: bytes, *, paused: bool) -> None:
        """Take ``transport`` over, with what was ``received`` behind the handshake; ``paused`` says
        that it takes no more."""
        self.transport = transport
        self._admission.admit(self, self._loop.time())
        transport.set_protocol(self)
        if paused:
            self.pause_writing()
        self.data_received(received)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._admission.leave(self)
        self.progress.resume()
        super().connection_lost(exc)
        if self._reader is not None:
            self._reader.feed_eof()

    def release(self) -> None:
        """Read nothing any more. Breaks the cycle with the messages, which pause this connection;
        called once."""
        self._ended = True
        if self._reader is not None:
            self._reader.feed_eof()
        self._reader = None
        del self.messages

    def data_received(self, data: bytes) -> None:
        if data and self._reader is not None and not self._ended:
            self._ended, _ = self._reader.feed_data(data)

    async def drain(self) -> None:
        """Wait until the transport takes more; raises ConnectionError once it is gone."""
        await self._drain_helper()

    # Its place.

    def stalled_since(self, now: float) -> float | None:
        """See Held: its client does not read what it is sent."""
        if not self._is_behind(now):
            return None
        since = self.progress.taken_at
        return since if now - since >= STALL else None

    def is_unheard(self, now: float) -> bool:
        """See Held: it is not its client's messages that count."""
        return False

    def check(self, now: float, header_timeout: float, write_timeout: float) -> None:
        """Cut it where its client takes too long to read."""
        if self._is_behind(now) and now - self.progress.taken_at > write_timeout:
            self.cut("unread")

    def _is_behind(self, now: float) -> bool:
        return self.transport is not None and self.progress.is_behind(self.transport, now)

    def cut(self, reason: str) -> None:
        """Close it at once; what its client has not read is lost."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        telemetry.CONNECTIONS_REFUSED.labels(reason).inc()
        if self._is_behind(self._loop.time()):
            # What the kernel holds for the client is dropped as well, and the client is told.
            tcp.reset_at_close(transport)
        transport.abort()
