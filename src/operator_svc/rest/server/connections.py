"""The limits of connections: how many, and how long a client may take to say what it wants.

aiohttp reads a request's head for as long as it takes, and any number of connections; both are
bounded here. Where all are taken, a new client gets the place of the one that has waited longest
without a request, so that many slow or silent clients do not keep others out.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server as AiohttpServer

from operator_svc import telemetry
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.protocol import headers, problems
from operator_svc.rest.problems import problem
from operator_svc.rest.request_context import new_request_id, request_id_of

log = structlog.get_logger(__name__)

KEEPALIVE = 75.0
"""Seconds that an idle connection is kept: more than the 60 s of common proxies, so that it is
they who close it, and no request meets a closing connection."""
MAX_LINE, MAX_FIELD, MAX_HEADERS = 8190, 8190, 100
"""Bytes of a request line and of a header, and number of headers."""
SWEEPS = 4
"""Looks at all connections within a header timeout."""

_refused = telemetry.CONNECTIONS_REFUSED


class HttpConnection(RequestHandler):
    """One connection of a client."""

    __slots__ = ("begun", "guard")

    def __init__(self, server: GuardedServer, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self.guard = server
        self.begun = 0.0  # when an unfinished head began to come

    @property
    def waits(self) -> bool:
        """Whether no request of it is being answered."""
        waiter = self._waiter
        return waiter is not None and not waiter.done()

    @property
    def waits_since(self) -> float:
        """When it connected, or its last answer was sent, by the loop's clock."""
        return self._next_keepalive_close_time - KEEPALIVE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self.guard.has_room():
            _refused.labels("full").inc()
            self._manager = None
            self._force_close = True
            cast(asyncio.Transport, transport).write(_busy())  # uvloop's is none by its class
            transport.close()
            return
        super().connection_made(transport)
        self.begun = self._loop.time()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiter = self._waiter
        if self._messages or (waiter is not None and waiter.done()):
            self.begun = 0.0  # a head is whole
        elif waiter is not None and not self.begun and data:
            self.begun = self._loop.time()

    def late(self, before: float) -> bool:
        """Whether a head has been coming since ``before`` and is not whole yet."""
        return 0.0 < self.begun < before and self.waits

    def cut(self, reason: str) -> None:
        """Close it: it takes too long."""
        _refused.labels(reason).inc()
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, or to a failure that nobody mapped."""
        if request.writer.output_size > 0 or self.transport is None:
            raise ConnectionResetError("the answer broke off") from exc
        request_id = request_id_of(request.headers.get(headers.REQUEST_ID))
        error: BaseException = exc or RuntimeError(message or "no cause is known")
        if status < 500:
            log.info("unreadable request", kind=type(exc).__name__, request_id=request_id)
            error = OperatorError(ErrorCode.INVALID_PARAMETER, "the request could not be read")
        else:
            log.error("request failed", exc_info=exc, request_id=request_id)
        response = problem(error, request_id)
        response.headers[headers.REQUEST_ID] = request_id
        response.headers["Server"] = "operator"
        response.force_close()
        return response


def _busy() -> bytes:
    """The whole answer to a client for whom there is no connection."""
    error = OperatorError(ErrorCode.RATE_LIMITED, "too many connections", retry_after=5.0)
    answer = problems.answer(error, new_request_id())
    head = "HTTP/1.1 429 Too Many Requests\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    head += f"Connection: close\r\nContent-Length: {len(answer.body)}\r\n\r\n"
    return head.encode() + answer.body


class GuardedServer(AiohttpServer):
    """aiohttp's server with connections that are watched."""

    def __init__(self, *args: Any, limit: int, header_timeout: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = limit
        self._timeout = header_timeout
        self._sweeper = self._loop.call_later(header_timeout / SWEEPS, self._sweep)

    def __call__(self) -> HttpConnection:
        return HttpConnection(self, loop=self._loop, **self._kwargs)

    def has_room(self) -> bool:
        """Whether one more connection may come; closes some that wait, where all are taken."""
        if len(self._connections) < self._limit:
            return True
        waiting = [c for c in self._connections if isinstance(c, HttpConnection) and c.waits]
        waiting.sort(key=lambda connection: connection.waits_since)
        for connection in waiting[: max(1, self._limit // 100)]:
            connection.cut("evicted")
        return bool(waiting)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self._connections):
            if isinstance(connection, HttpConnection) and connection.late(now - self._timeout):
                connection.cut("slow_head")
        self._sweeper = self._loop.call_later(self._timeout / SWEEPS, self._sweep)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._sweeper.cancel()
        await super().shutdown(timeout)


class Runner(web.AppRunner):
    """An application behind a guarded server."""

    def __init__(self, app: web.Application, *, limit: int, header_timeout: float) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=5.0,
            keepalive_timeout=KEEPALIVE,
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_HEADERS,
        )
        self._limit = limit
        self._header_timeout = header_timeout

    async def _make_server(self) -> AiohttpServer:
        plain = await super()._make_server()
        return GuardedServer(
            plain.request_handler,
            request_factory=plain.request_factory,
            loop=plain._loop,
            limit=self._limit,
            header_timeout=self._header_timeout,
            **plain._kwargs,
        )
