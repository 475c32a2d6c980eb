"""Frames without a mask end the connection with 1002, however they are cut into pieces."""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import Iterator

import pytest

from tests.fakes.eventually import WITHIN
from tests.ws.ws_service import TOKEN, Service

HANDSHAKE = (
    "GET /ws/s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    f"X-VX11-Token: {TOKEN}\r\n\r\n"
).encode()


def frame(payload: bytes, *, masked: bool = True) -> bytes:
    """A text frame of a client."""
    bit, size = 0x80 if masked else 0, len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x81, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x81, bit | 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, bit | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def ping(ts: int, padding: int = 0) -> bytes:
    return json.dumps({"type": "ping", "ts": ts, "padding": "x" * padding}).encode()


async def answers(reader: asyncio.StreamReader) -> list[bytes]:
    """The payloads of all frames until the close frame, and that one's as the last."""
    found: list[bytes] = []
    async with asyncio.timeout(WITHIN):
        while True:
            first, size = await reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
            found.append(await reader.readexactly(size))
            if first & 0xF == 0x8:
                return found


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
async def test_a_frame_without_a_mask_closes_with_1002_after_those_before_it(
    service: Service, size: int
) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(HANDSHAKE)
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    sent = b"".join(frame(ping(n, padding)) for n, padding in enumerate((0, 200, 5, 300)))
    sent += frame(ping(9), masked=False)
    for piece in pieces(sent, size):
        writer.write(piece)
        if size < 100:
            await asyncio.sleep(0)
            await writer.drain()
    *shown, close = await answers(reader)
    pongs = [json.loads(x) for x in shown if b'"pong"' in x]
    assert [pong["ts"] for pong in pongs] == [0, 1, 2, 3]
    assert close[:2] == struct.pack("!H", 1002)
    writer.close()


async def test_large_masked_frames_are_read(service: Service) -> None:
    socket = await service.ready()
    await socket.send({"type": "ping", "ts": 1, "padding": "x" * 300_000})
    await socket.send({"type": "ping", "ts": 2})
    await socket.until(lambda: len(socket.of("pong")) == 2)


async def test_frames_right_behind_the_handshake_are_read(service: Service) -> None:
    """Also where they are more than is kept of a connection that is not upgraded yet."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    many = 20
    frames = b"".join(frame(ping(n, 60_000)) for n in range(many))
    writer.write(HANDSHAKE + frames + frame(ping(many), masked=False))
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    *shown, _ = await answers(reader)
    pongs = [json.loads(x) for x in shown if b'"pong"' in x]
    assert [pong["ts"] for pong in pongs] == list(range(many))
    writer.close()
