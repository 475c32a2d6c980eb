"""HTTP connections: the time that a client may take for each step, and how each one ends.

aiohttp reads a request's head for as long as it takes, waits for ever for a client that does not
read its answer, and reads what is left of a refused body for ten seconds. All are bounded here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http import WebSocketReader
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server as AiohttpServer

from operator_svc import telemetry
from operator_svc.rest.problems import failure
from operator_svc.rest.server import tcp
from operator_svc.rest.server.admission import STALL, Admission, full_response, group_of
from operator_svc.rest.server.progress import Progress, WatchedProtocol
from operator_svc.rest.server.upgraded import UpgradedConnection
from operator_svc.settings import Settings

KEEPALIVE = 75.0
"""Seconds that an idle connection is kept: more than the 60 s after which proxies close it."""
SWEEPS = 4
"""Looks at all connections within the shorter of both timeouts."""
RESERVE_TIME = 1.0
"""Seconds that a connection in reserve has for its request."""
HALF_CLOSED_LOOK = 0.2
"""Seconds between looks whether a client that sends no more has its answers, or is gone."""
_refused = telemetry.CONNECTIONS_REFUSED


class HttpConnection(WatchedProtocol, RequestHandler):
    """One connection of a client. ``in_reserve`` says that only probes are answered on it;
    ``half_closed`` that its client sends no more, but may still read; ``ending`` that it is
    closed after the answer, whatever still comes."""

    __slots__ = (
        "_guard",
        "_head_since",
        "_received_at",
        "_settled",
        "_shutdown_waiter",
        "_unchecked",
        "address",
        "ending",
        "half_closed",
        "in_reserve",
        "progress",
    )

    def __init__(self, server: GuardedServer, **kwargs: Any) -> None:
        self._shutdown_waiter: asyncio.Future[None] | None = None
        super().__init__(server, **kwargs)
        self._guard = server
        self._head_since = 0.0  # when an unfinished head began to come
        self._received_at = 0.0
        self.progress = Progress(server.admission.budget)
        self._settled = True  # it is idle and has taken all that was sent
        self._unchecked = False  # half a head may have come behind a whole request
        self.address = ""
        self.ending = False
        self.half_closed = False
        self.in_reserve = False

    # Coming and going.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, tcp.SEND_BUFFER)
        peer = transport.get_extra_info("peername")
        self.address = group_of(str(peer[0])) if isinstance(peer, tuple) else ""
        self._head_since = self._received_at = self.progress.taken_at = self._loop.time()
        self.in_reserve = not self._guard.admission.admit(self, self._loop.time())
        if self.in_reserve:
            self._loop.call_later(RESERVE_TIME, self._leave_reserve)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._guard.admission.leave(self)
        self.progress.resume()
        super().connection_lost(exc)

    def hand_over(self, max_message: int) -> UpgradedConnection:
        """Take the connection of a websocket from aiohttp, to which it ends, once its handshake is
        answered. A message of ``max_message`` bytes is too large.

        Raises ConnectionResetError where the client is gone.
        """
        transport = self.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        upgraded = UpgradedConnection(
            self._guard.admission, self.progress, self.address, max_message, self._loop
        )
        received, self._message_tail = self._message_tail, b""
        self.transport = None  # or aiohttp would close it
        self.connection_lost(None)
        upgraded.begin(transport, received, paused=self._paused)
        if self._buffer_paused:
            transport.resume_reading()
        return upgraded

    def cut(self, reason: str) -> None:
        """Close it at once; what its client has not read is lost."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        _refused.labels(reason).inc()
        if reason == "full" and (self._settled or self._is_waiting):
            transport.write(full_response())
            self.force_close()
            return
        if self._unread(self._loop.time()):
            # What the kernel holds for the client is dropped as well, and the client is told.
            tcp.reset_at_close(transport)
        # Not aiohttp's force_close: a body that is being read would lose its connection between
        # two pieces, which aiohttp takes for a fault. It closes what is left once it is lost.
        transport.abort()

    def _leave_reserve(self) -> None:
        if self._is_waiting:
            self.cut("full")

    # What comes in.

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not data:
            return
        self._received_at = self._loop.time()
        self._unchecked = True
        self._settled = False
        waiter = self._waiter
        if self._messages or (waiter is not None and waiter.done()):
            self._head_since = 0.0  # a head is whole
        elif waiter is not None and not self._head_since:
            self._head_since = self._received_at

    def set_parser(
        self, parser: WebSocketReader, data_received_cb: Callable[[], None] | None = None
    ) -> None:
        """Keep what comes behind the handshake as bytes, until ``hand_over``."""

    # aiohttp says None, asyncio lets a protocol answer that it stays.
    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection of a client that sends no more until its requests are answered."""
        if self._upgraded or self._is_waiting or not self._has_whole_bodies:
            return False
        self.half_closed = True
        self._loop.call_later(HALF_CLOSED_LOOK, self._look_half_closed)
        return True

    def _look_half_closed(self) -> None:
        transport = self.transport
        if transport is None:
            return
        if tcp.is_reset(transport) or not self._has_whole_bodies:
            transport.abort()
        elif self._is_waiting:
            self.force_close()
        else:
            self._loop.call_later(HALF_CLOSED_LOOK, self._look_half_closed)

    @property
    def _has_whole_bodies(self) -> bool:
        """True where nothing is missing of the requests that have begun to come."""
        request = self._current_request
        if request is not None and not request.content.is_eof():
            return False
        return all(payload.is_eof() for _, payload in self._messages)

    @property
    def _is_waiting(self) -> bool:
        """True where no request of it is being answered."""
        waiter = self._waiter
        return waiter is not None and not waiter.done()

    @property
    def _handler_waiter(self) -> asyncio.Future[None] | None:
        """The wait of a shutdown, which aiohttp ends even where it was cancelled just before."""
        waiter = self._shutdown_waiter
        return None if waiter is None or waiter.done() else waiter

    @_handler_waiter.setter
    def _handler_waiter(self, waiter: asyncio.Future[None] | None) -> None:
        self._shutdown_waiter = waiter

    # Progress.

    def stalled_since(self, now: float) -> float | None:
        """See Held: idle, sending a request, or not reading an answer."""
        if self._unread(now):
            since = self.progress.taken_at
        elif self._settled or self._is_waiting:
            # Since it connected, or since its last answer.
            return self._head_since or self._next_keepalive_close_time - KEEPALIVE
        elif self.ending and not self._request_in_progress:
            return self._received_at
        elif self.half_closed or not self._has_whole_bodies:
            since = self._received_at
        else:
            return None
        return since if now - since >= STALL else None

    def is_unheard(self, now: float) -> bool:
        """See Held: a request, or more of its head. Who does not read its answer is not heard."""
        transport = self.transport
        if transport is None or self._unread(now):
            return False
        return (self._settled or self._is_waiting) and tcp.unread(transport) > 0

    def _unread(self, now: float) -> bool:
        """True while answers wait for the client; notes when it took some."""
        transport = self.transport
        if transport is None or self._settled:
            return False
        behind = self.progress.is_behind(transport, now)
        if not behind:
            self._settled = self._is_waiting
        return behind

    def check(self, now: float, header_timeout: float, write_timeout: float) -> None:
        """Cut it where its client takes too long for a head, or for its answer."""
        if self._unread(now):
            if now - self.progress.taken_at > write_timeout:
                self.cut("unread")
        elif self._is_waiting:
            if self._head_since:
                if now - self._head_since > header_timeout:
                    self.cut("slow_head")
            elif self._unchecked and now - self._received_at > header_timeout:
                self._check_rest()

    def _check_rest(self) -> None:
        """Cut it where half a head came with the last request and nothing since.

        aiohttp keeps such bytes to itself. A blank line ends whatever was begun, as a request or
        as an error; where nothing was, it means nothing.
        """
        self._unchecked = False
        assert self._parser is not None
        try:
            ended, _, _ = self._parser.feed_data(b"\r\n\r\n")
        except HttpProcessingError:
            self.cut("slow_head")
        else:
            if ended:
                self.cut("slow_head")

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to malformed HTTP, or to an unexpected failure."""
        if request.writer.output_size > 0 or self.transport is None:
            if self.transport is not None:
                self.transport.abort()
            return web.Response()  # which nobody gets: the connection is gone
        response = failure(request.headers, status, exc, message)
        response.force_close()
        return response


class GuardedServer(AiohttpServer):
    """aiohttp's server with connections that are watched."""

    def __init__(self, *args: Any, settings: Settings, admission: Admission, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.admission = admission
        self._timeouts = settings.header_timeout, settings.write_timeout
        self._interval = min(self._timeouts) / SWEEPS
        self._sweeper = self._loop.call_later(self._interval, self._sweep)

    def __call__(self) -> HttpConnection:
        return HttpConnection(self, loop=self._loop, **self._kwargs)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in self.admission:
            connection.check(now, *self._timeouts)
        self._sweeper = self._loop.call_later(self._interval, self._sweep)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._sweeper.cancel()
        await super().shutdown(timeout)


def connection_of(request: web.Request) -> HttpConnection:
    """The connection that a request came by."""
    return cast(HttpConnection, request.protocol)
