"""Masks of websocket frames: a client must mask each of them (RFC 6455, section 5.1)."""

from __future__ import annotations

from typing import Protocol

_BROKEN = b"\xf0\x80"
"""A head with reserved bits, which aiohttp's reader answers as any fault of the protocol (1002)."""
_LENGTH_BYTES = {126: 2, 127: 8}
_MASK_BYTES = 4


class FrameReader(Protocol):
    """A reader of frames, which aiohttp gives the bytes of an upgraded connection."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Read some bytes; True where the connection must end."""

    def feed_eof(self) -> None:
        """No more bytes come."""


class MaskedFrames:
    """Passes masked frames to ``reader``, which does not check the mask, and stops at an unmasked
    one."""

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader
        self._held = b""  # the beginning of a head that has not come whole
        self._left = 0  # bytes of a payload that are still to come

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """See FrameReader."""
        data = self._held + data
        position, size = self._left, len(data)
        while position + 2 <= size:
            second = data[position + 1]
            if not second & 0x80:
                return self._reader.feed_data(data[:position] + _BROKEN)
            length = second & 0x7F
            start = position + 2 + _LENGTH_BYTES.get(length, 0)
            if start > size:
                break
            if length in _LENGTH_BYTES:
                length = int.from_bytes(data[position + 2 : start], "big")
            position = start + _MASK_BYTES + length
        self._held = data[position:]
        self._left = max(position - size, 0)
        whole = data[:position]
        return self._reader.feed_data(whole) if whole else (False, b"")

    def feed_eof(self) -> None:
        """See FrameReader."""
        self._reader.feed_eof()
