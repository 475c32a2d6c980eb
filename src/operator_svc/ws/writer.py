"""Frames to one websocket: written at once where the transport takes them, never waited for.

Frames are built here and given to the transport, past aiohttp's own writer: a coroutine a frame
costs more than the rest of the way to a reader, and what one frame is encoded to is the same
for all its readers (RFC 6455, section 5.2; a server does not mask).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

from operator_svc.protocol.frames import CloseCode
from operator_svc.rest.server.upgraded import UpgradedConnection
from operator_svc.services.live.clients import CLOSE_GRACE

LINGER = 0.5
"""Seconds from a close for a fault of the protocol to the end of the connection."""

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


def server_frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


PROTOCOL_PING = server_frame(PING, b"")


_SHORT = tuple(bytes((0x80 | TEXT, size)) for size in range(126))
"""The heads of short text frames, as those of single tokens are."""


class _Framer:
    """Text frames; the last one is kept, because it often goes to many readers in a row."""

    __slots__ = ("_frame", "_payload")

    def __init__(self) -> None:
        self._payload = b""
        self._frame = server_frame(TEXT, b"")

    def __call__(self, payload: bytes) -> bytes:
        if payload is not self._payload:
            self._frame = server_frame(TEXT, payload)
            self._payload = payload
        return self._frame


_text_frame = _Framer()


def _do_nothing() -> None:
    """In place of what is not to be called any more."""


class SocketWriter:
    """The sink of one websocket (``SendQueue``'s Sink), which alone writes to it.

    ``on_deleted`` is called when the session is deleted. ``code`` is the close code that was sent,
    if any; nothing is sent after it. Raises ConnectionResetError where the client is gone.
    """

    __slots__ = (
        "_abort",
        "_connection",
        "_drained",
        "_held",
        "_on_deleted",
        "_progress",
        "_transport",
        "code",
    )

    def __init__(self, connection: UpgradedConnection, on_deleted: Callable[[], None]) -> None:
        transport = connection.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self._transport = transport
        self._connection = connection
        self._progress = connection.progress
        self._on_deleted = on_deleted
        self._abort: asyncio.TimerHandle | None = None
        self._drained = False
        self._held = 0
        self.code: int | None = None

    def writable(self) -> bool:
        """See Sink.writable."""
        return not self._connection.writing_paused

    def encode(self, frame: bytes, seq: int | None) -> bytes:
        """See Sink.encode. ``seq`` stands in the frame already."""
        size = len(frame)
        return _SHORT[size] + frame if size < 126 else _text_frame(frame)

    def write(self, encoded: bytes) -> None:
        """See Sink.write. A control frame may so overtake what waits."""
        if self.code is None and not self._transport.is_closing():
            self._progress.settled = False
            self._transport.write(encoded)

    async def drain(self) -> None:
        """Wait until the transport takes more; raises ConnectionError when it is gone."""
        await self._connection.drain()
        self._drained = True
        if self.code is not None or self._transport.is_closing():
            raise ConnectionResetError("the client is gone")

    def moved(self) -> bool:
        """True where the client has taken some of what was held back for it since the last call.

        One that reads a long replay slowly comes late to the ping behind it, but is alive."""
        held = self._transport.get_write_buffer_size()
        moved = self._drained or held < self._held
        self._drained, self._held = False, held
        return moved

    def disconnect_slow(self) -> None:
        """See Sink.disconnect_slow."""
        self.close(CloseCode.TOO_SLOW)

    def state_changed(self) -> None:
        """See Sink.state_changed."""
        self.close(CloseCode.STATE_CHANGED)

    def session_deleted(self) -> None:
        """See Sink.session_deleted."""
        self._on_deleted()

    def close(self, code: int) -> None:
        """Send the close frame, with the reason of a CloseCode; who does not answer it within the
        grace is cut off."""
        if self.code is not None:
            return
        self.code = code
        if not self._transport.is_closing():
            self._progress.settled = False
            reason = code.reason.encode() if isinstance(code, CloseCode) else b""
            self._transport.write(server_frame(CLOSE, struct.pack("!H", code) + reason))
            loop = asyncio.get_running_loop()
            self._abort = loop.call_later(CLOSE_GRACE, self._transport.abort)

    async def linger(self) -> None:
        """Let the client read why it is closed before the connection goes: what it still sends
        would reset the connection, and the close frame be lost."""
        if not self._transport.is_closing():
            await asyncio.sleep(LINGER)

    def finish(self) -> None:
        """Nobody reads from the client any more: let the connection go, and its owner too."""
        self._on_deleted = _do_nothing
        self._connection.release()
        if not self._transport.is_closing():
            self._transport.close()
        if self._transport.get_write_buffer_size():
            # It ends when this is written; a client that does not read would keep it for ever.
            if self._abort is None:
                loop = asyncio.get_running_loop()
                self._abort = loop.call_later(CLOSE_GRACE, self._transport.abort)
        elif self._abort is not None:
            self._abort.cancel()
