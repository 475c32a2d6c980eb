"""TCP below a connection, as Linux reports it."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios

_CLOSED = 7
"""The state of a connection that was reset (Linux, tcp_states.h)."""
_TCP_INFO = struct.Struct("=24xI92xQ16xI")
"""tcpi_unacked, tcpi_bytes_acked and tcpi_notsent_bytes of TCP_INFO (Linux, tcp.h)."""
_RESET = struct.pack("ii", 1, 0)
"""The option SO_LINGER that lets a close reset the connection."""
SEND_BUFFER = 128 * 1024
"""Bytes that the kernel may hold for a client. Left alone it takes 4 MB before one that does not
read shows; this is still 1 MB/s to a client that is 100 ms away."""


def progress(transport: asyncio.Transport) -> tuple[bool, int]:
    """True where the kernel holds bytes for the client, and how many it acknowledged so far."""
    connection = transport.get_extra_info("socket")
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    in_flight, acknowledged, waiting = _TCP_INFO.unpack(info.ljust(_TCP_INFO.size, b"\0"))
    return bool(in_flight or waiting), acknowledged


def unread(transport: asyncio.Transport) -> int:
    """Bytes of the client that the kernel holds, since the event loop has not come to them."""
    waiting = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(waiting, sys.byteorder)


def is_reset(transport: asyncio.Transport) -> bool:
    """True where the client has reset the connection."""
    connection = transport.get_extra_info("socket")
    state: int = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state == _CLOSED


def reset_at_close(transport: asyncio.Transport) -> None:
    """Have the kernel drop what it holds for the client when the connection is closed."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
