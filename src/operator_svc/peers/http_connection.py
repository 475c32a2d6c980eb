"""A connection to a peer, made by aiohttp's connector, which carries one call after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp.connector import Connection

from operator_svc.peers.http_response import Response

LOST = "the connection was lost"
WRITE_BYTES = 64 * 1024
"""Bytes of a call that are written at once. What a connection by TLS takes in one write counts as
sent, however large it is; of more writes, those after it is full do not."""


class NotSentError(aiohttp.ClientConnectionError):
    """Raised for a call whose connection was lost before any of it was written."""


class PeerConnection(asyncio.Protocol):
    """The protocol of a connection, from when it is ``made`` until it is lost.

    ``idle`` is called when it can serve another call, and ``gone`` when it was lost or closed.
    """

    def __init__(
        self,
        made: Connection,
        idle: Callable[[PeerConnection], None],
        gone: Callable[[PeerConnection], None],
    ) -> None:
        if made.transport is None or made.protocol is None:
            made.close()
            raise NotSentError(LOST)
        self.idle_since = 0.0
        """The event loop's time."""
        self._made = made
        self._transport = made.transport
        self._before = made.protocol
        self._idle = idle
        self._gone = gone
        self._response: Response | None = None
        self._transport.set_protocol(self)
        if self._before.should_close:  # something has come, and nothing was asked
            self.close()

    @property
    def is_closing(self) -> bool:
        """True where it can carry nothing more."""
        return self._transport.is_closing()

    def ask(self, request: bytes) -> Response:
        """Send a call; its response follows. Raises NotSentError where the connection is lost."""
        if self.is_closing:
            raise NotSentError(LOST)
        self._response = response = Response(self._transport, self._over)
        view = memoryview(request)
        for start in range(0, len(request), WRITE_BYTES):
            self._transport.write(view[start : start + WRITE_BYTES])
        return response

    def close(self) -> None:
        """Close the connection at once, so that the peer sees it."""
        if self._response is not None:
            self._response.close()
        else:
            self._transport.abort()
            self._made.close()

    def _over(self, keeps: bool) -> None:
        self._response = None
        # A peer may answer before it has taken the whole call; what it has not read is in the way.
        if keeps and not self.is_closing and not self._transport.get_write_buffer_size():
            self._idle(self)
        else:
            self.close()

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._response is None:
            self.close()  # nothing was asked
        else:
            self._response.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._before.connection_lost(exc)
        self._made.close()
        self._gone(self)
        if self._response is not None:
            self._response.lost(exc)
