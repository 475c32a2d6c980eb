"""Server-sent events: a chat's reply, and a session as it goes on. Their data are the
websocket's frames; what a close code says there, the stream's end says here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar

import structlog
from aiohttp import HttpVersion11, hdrs, web

from operator_svc import __version__
from operator_svc.context import SERVICES, Services
from operator_svc.errors import OperatorError
from operator_svc.protocol import sse
from operator_svc.protocol.frames import (
    CloseCode,
    Draining,
    ErrorFrame,
    Ready,
    Result,
    encode,
)
from operator_svc.protocol.ids import Epoch, Seq
from operator_svc.rest import requests
from operator_svc.rest.request_context import caller_of
from operator_svc.rest.server.connections import connection_of
from operator_svc.services.chat.running_replies import Accepted
from operator_svc.services.live.clients import CLOSE_GRACE, too_many_streams
from operator_svc.services.live.send_queue import SendQueue
from operator_svc.services.live.subscriptions import Subscription

log = structlog.get_logger(__name__)

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
"""Headers of every stream; proxies that buffer would hold frames back."""


INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"
"""A response that every client passes over (RFC 9110, 15.2)."""


def probe(request: web.Request, transport: asyncio.Transport) -> None:
    """Send what resets the connection of a client that left, and does no harm to one that only
    sends no more. HTTP/1.0 has nothing of the kind, so there it has left."""
    if request.version >= HttpVersion11:
        transport.write(INTERIM)
    else:
        transport.abort()


class EventStream:
    """A streamed response: the sink of its send queue, and a LiveClient."""

    transport_name: ClassVar[str] = "event_stream"
    must_poll: ClassVar[bool] = True  # aiohttp does not tell a handler that its client left
    more_headers: ClassVar[Mapping[str, str]] = {}
    """Headers of a stream in another protocol."""

    def __init__(self, services: Services, request: web.Request) -> None:
        """Raises OperatorError(forbidden) where the token was taken away since it was looked up:
        once the stream is registered, that is told."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self._services = services
        self._request = request
        self._transport = transport
        self._connection = connection_of(request)
        self._progress = self._connection.progress
        self._probed = False
        self._chunked = request.version >= HttpVersion11
        self._drain: Callable[[], Awaitable[None]] | None = None
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.caller = caller_of(request)
        services.tokens.check_current(self.caller)
        self._subscription: Subscription | None = None
        self.send_queue = SendQueue(
            self, services.tasks, services.settings.outbox_bytes, services.byte_budget
        )

    def shows(self, subscription: Subscription) -> None:
        """The stream shows a session, not a chat's reply alone."""
        self._subscription = subscription

    async def run(self, first: bytes, work: Callable[[], Awaitable[None]]) -> web.StreamResponse:
        """Answer with ``first``, then with what ``work`` sends, until it ends, or the client
        leaves or is sent away. A HEAD is answered with the head alone: what follows would be taken
        for the answer to the next request."""
        response = web.StreamResponse(headers={**HEADERS, **self.more_headers})
        writer = await response.prepare(self._request)
        assert writer is not None
        if self._request.method == hdrs.METH_HEAD:
            return response
        await response.write(self.encode(first))  # brings the head with it
        self._drain = writer.drain
        working = self._services.tasks.start(self._work(work), "event-stream")
        self._progress.begin_told()
        try:
            await asyncio.wait((working, self._left), return_when=asyncio.FIRST_COMPLETED)
            await self._finish(response)
        finally:
            self._progress.end_told()
            working.cancel()
            self.send_queue.close()
        return response

    async def _work(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            try:
                await work()
            except OperatorError as error:
                self.send_queue.frame(self.failure(error))
            await self.send_queue.wait_drained()
        except ConnectionError:
            self._leave()

    def failure(self, error: OperatorError) -> bytes:
        """The data of the last event of a stream that fails."""
        return encode(ErrorFrame(error=str(error.code), detail=error.detail))

    async def _finish(self, response: web.StreamResponse) -> None:
        """End the answer after what waits; a client that does not read is cut off."""
        try:
            async with asyncio.timeout(CLOSE_GRACE):
                await self.send_queue.flushed()
                self.send_queue.close()
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            self._transport.abort()

    def _leave(self) -> None:
        if not self._left.done():
            self._left.set_result(None)

    # Sink

    def writable(self) -> bool:
        """See Sink.writable."""
        return not self._connection.writing_paused

    def encode(self, frame: bytes, seq: int | None = None) -> bytes:
        """See Sink.encode; ``seq`` where it has a number that a client comes back with."""
        return sse.encode(frame, seq)

    def write(self, encoded: bytes) -> None:
        """See Sink.write."""
        # Past aiohttp's writer, whose coroutine a piece costs more than the piece.
        if self._transport.is_closing():
            return
        if self._chunked:
            encoded = b"%x\r\n%b\r\n" % (len(encoded), encoded)
        self._progress.settled = False
        self._transport.write(encoded)

    async def drain(self) -> None:
        """See Sink.drain."""
        assert self._drain is not None
        await self._drain()
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")

    def disconnect_slow(self) -> None:
        """See Sink.disconnect_slow."""
        self._transport.abort()
        self._leave()

    def state_changed(self) -> None:
        """See Sink.state_changed. A stream has no close codes, and this is no end of a reply."""
        self.disconnect_slow()

    def session_deleted(self) -> None:
        """See Sink.session_deleted."""
        self._leave()

    # LiveClient

    def poll_closed(self) -> None:
        """See LiveClient.poll_closed."""
        if self._transport.is_closing():
            self.send_queue.close()
            self._leave()
        elif self._connection.half_closed and not self._probed:
            # It sends no more: where it does not read either, this finds out.
            self._probed = True
            self.heartbeat()

    def probe_before_head(self) -> None:
        """See ``probe``; once is enough."""
        if not self._probed:
            self._probed = True
            probe(self._request, self._transport)

    def heartbeat(self) -> None:
        """See LiveClient.heartbeat."""
        if (
            self._drain is not None
            and not self.send_queue.closed
            and not self.send_queue.queued_bytes
        ):
            self.write(sse.comment("ping"))

    def has_local_reply(self) -> bool:
        """See LiveClient.has_local_reply."""
        if self._subscription is None:  # a chat's stream ends with its reply
            return True
        return self._subscription.feed.has_local_reply

    def send_draining(self, reconnect_in_ms: int) -> None:
        """See LiveClient.send_draining."""
        if self._drain is not None:
            self.send_queue.frame(encode(Draining(reconnect_in_ms=reconnect_in_ms)))

    def close(self, code: CloseCode) -> None:
        """See LiveClient.close."""
        self._leave()

    async def until_left(self) -> None:
        """Wait until the client left or was sent away."""
        await asyncio.shield(self._left)


async def stream_chat(
    request: web.Request, services: Services, accepted: Accepted
) -> web.StreamResponse:
    """Stream the reply of a chat: a ``result`` with the ids, the reply's events and deltas, and
    the end after its last event. A client that leaves does not stop the reply.
    """
    stream = EventStream(services, request)
    with services.clients.streaming(stream, promised=True):
        return await stream.run(
            encode(Result(id=None, ok=True, data=accepted.result())),
            lambda: services.replies.stream(accepted, stream.send_queue),
        )


async def watch_session(request: web.Request) -> web.StreamResponse:
    """A session as it goes on: ``ready``, what the client missed since ``Last-Event-ID`` (or
    ``?after=``, both with ``?epoch=``), and all that follows, until the session is deleted.

    Raises OperatorError: invalid_parameter, session_not_found, rate_limited, draining.
    """
    services = request.app[SERVICES]
    session_id = requests.session_id(request)
    after, epoch = _place(request)
    await services.sessions.get(caller_of(request), session_id)
    clients = services.clients
    services.drain.refuse_new()
    stream = EventStream(services, request)
    with clients.streaming(stream):
        if not clients.join(stream, session_id):
            raise too_many_streams()
        return await _show(services, stream, session_id, after, epoch)


async def _show(
    services: Services, stream: EventStream, session_id: str, after: int | None, epoch: str | None
) -> web.StreamResponse:
    subscription = await services.subscriptions.open(session_id, stream.send_queue)
    stream.shows(subscription)
    ready = Ready(
        session_id=session_id,
        seq=subscription.feed.last_seq,
        epoch=subscription.feed.epoch,
        version=__version__,
        heartbeat_s=services.settings.heartbeat,
    )

    async def catch_up() -> None:
        if after is None:
            await subscription.begin(ready.seq)
        else:
            await subscription.resume(after, epoch)
        await stream.until_left()

    try:
        return await stream.run(encode(ready), catch_up)
    finally:
        subscription.close()


def _place(request: web.Request) -> tuple[int | None, str | None]:
    """The event after which to resume, and its epoch. A browser that reconnects by itself sends the
    header."""
    epoch = requests.parameter(request, "epoch", Epoch) or None
    last = request.headers.get("Last-Event-ID")
    if last:
        if not (last.isascii() and last.isdigit() and len(last) < 19):
            raise requests.wrong("Last-Event-ID", "it must be the number of an event")
        return int(last), epoch
    after: int | None = requests.parameter(request, "after", Seq)
    return after, epoch
