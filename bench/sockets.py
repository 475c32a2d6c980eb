"""Websocket clients that cost little: frames are found in the bytes, and only counted."""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import struct
from collections.abc import Callable
from typing import Any, cast

import msgspec

from bench.processes import TOKEN, Process

OnFrame = Callable[["Socket", bytes], None]
"""Gets each text frame of a socket as it comes."""


class _ReplyPiece(msgspec.Struct):
    content: str


_decode_piece = msgspec.json.Decoder(_ReplyPiece).decode


def _mask(payload: bytes) -> bytes:
    """A whole client frame with text; the mask is zero, which servers undo as any other."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x81, 0x80 | size) + b"\0\0\0\0" + payload
    return struct.pack("!BBH", 0x81, 0x80 | 126, size) + b"\0\0\0\0" + payload


class Socket(asyncio.Protocol):
    """One websocket. ``on_frame`` sees its text frames; ``note`` is the benchmark's own."""

    def __init__(self, session_id: str, path: str, process: Process, on_frame: OnFrame) -> None:
        self.session_id = session_id
        self.note: Any = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = False
        self._path = path
        self._process = process
        self._on_frame = on_frame
        self._buffer = b""
        self._upgraded = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            (
                f"GET {self._path} HTTP/1.1\r\n"
                f"Host: {self._process.host}:{self._process.port}\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {key}\r\nX-VX11-Token: {TOKEN}\r\n\r\n"
            ).encode()
        )

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if not self.opened.done():
            self.opened.set_exception(ConnectionResetError("the upgrade was refused"))

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        if not self._upgraded:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            if data[9:12] != b"101":
                self.opened.set_exception(ConnectionResetError(data[:500].decode()))
                return
            self._upgraded = True
            self.opened.set_result(None)
            data = data[end + 4 :]
        at, size = 0, len(data)
        while size - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if size < start + length:
                break
            opcode = data[at] & 0x0F
            at = start + length
            if opcode == 1:
                self._on_frame(self, data[start:at])
            elif opcode == 9:
                self._control(0x8A, data[start:at])
        self._buffer = data[at:]

    def _control(self, head: int, payload: bytes) -> None:
        assert self._transport is not None
        frame = struct.pack("!BB", head, 0x80 | len(payload)) + b"\0\0\0\0" + payload
        self._transport.write(frame)

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame."""
        assert self._transport is not None
        self._transport.write(_mask(msgspec.json.encode(frame)))

    def close(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()


async def connect(
    process: Process, session_id: str, on_frame: OnFrame, path: str = "/ws", query: str = ""
) -> Socket:
    """A websocket on a session, after its upgrade."""
    make = functools.partial(Socket, session_id, f"{path}/{session_id}{query}", process, on_frame)
    _, socket = await asyncio.get_running_loop().create_connection(make, process.host, process.port)
    await asyncio.wait_for(socket.opened, 30)
    return socket


def is_ready(frame: bytes) -> bool:
    """True for the first frame, after which the session is watched."""
    return frame.startswith(b'{"type":"ready"')


def is_delta(frame: bytes) -> bool:
    """True for a piece of a reply."""
    return frame.startswith(b'{"type":"delta"')


def words_of(frame: bytes) -> list[str]:
    """The words of a piece of a reply."""
    return _decode_piece(frame).content.split()


def is_end(frame: bytes) -> bool:
    """True for the last event of a reply (its names are all of this form)."""
    return frame.startswith(b'{"type":"event"') and (
        b'"event":"reply.' in frame and b'"event":"reply.started"' not in frame
    )
