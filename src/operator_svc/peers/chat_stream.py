"""One chat call: sent once, read as it comes, bounded in time, closed at once when left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
import msgspec

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.base import Peer, PeerRefusedError
from operator_svc.peers.chat_types import AnswerError, Dialect, Done, Part, Prompt
from operator_svc.peers.peer_errors import mask
from operator_svc.protocol.sse import EventTooLargeError

MAX_ANSWER_BYTES = 16 * 2**20
"""Largest JSON answer, and largest event. Well above what 200,000 characters can need (twelve
bytes each when escaped, sent twice), so that an overlong reply is still kept up to its limit."""
SEND_HEADERS = {"Accept": "text/event-stream, application/json;q=0.5"}


class Timeouts(msgspec.Struct, frozen=True):
    """Limits of one chat call, in seconds; ``first_byte`` includes connecting."""

    first_byte: float
    idle: float
    total: float


class _Expired(aiohttp.ClientError):
    """Put into the answer's stream by the watch, to end the read that waits."""


class _Watch:
    """Ends an answer that is silent or takes too long.

    One timer for the whole answer: a read only notes when it began to wait, and the timer,
    when it fires, sees whether that was long ago. Nothing is counted while the caller is busy
    with what it has (``waiting_since`` is 0 then).
    """

    __slots__ = ("_content", "_deadline", "_handle", "_idle", "_loop", "limit", "waiting_since")

    def __init__(self, content: aiohttp.StreamReader, idle: float, deadline: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._content = content
        self._idle = idle
        self._deadline = deadline
        self.limit = ""
        self.waiting_since = self._loop.time()
        self._handle = self._loop.call_at(min(self.waiting_since + idle, deadline), self._look)

    def _look(self) -> None:
        now = self._loop.time()
        since = self.waiting_since
        if now >= self._deadline:
            self.limit = "total"
        elif since and now >= since + self._idle:
            self.limit = "idle"
        if self.limit:
            self._content.set_exception(_Expired())
            return
        again = since + self._idle if since else now + self._idle / 8
        self._handle = self._loop.call_at(min(again, self._deadline), self._look)

    def stop(self) -> None:
        self._handle.cancel()


async def stream(
    peer: Peer, dialect: Dialect, prompt: Prompt, timeouts: Timeouts
) -> AsyncGenerator[list[Part], None]:
    """The answer's parts, a list for each read; the last list ends with Done.

    Raises OperatorError with the peer's codes. Leaving early (``aclose``, cancellation) closes
    the connection at once, so that the peer can see it.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    deadline = started + timeouts.total
    call = f"POST {dialect.path}"
    permit = peer.breaker.acquire()
    response: aiohttp.ClientResponse | None = None
    watch: _Watch | None = None
    reader = dialect.reader()
    try:
        body = dialect.body(prompt)
        first_byte = min(timeouts.first_byte, timeouts.total)
        response = await _open(peer, dialect.path, body, prompt.message, first_byte)
        content = response.content
        watch = _Watch(content, timeouts.idle, deadline)
        if response.content_type != "text/event-stream":
            raw = await _whole(peer, content, watch)
            parts = _finished(reader.whole(raw), loop.time() - started)
            watch.stop()
            peer.breaker.succeeded(permit)
            yield parts
            return
        permit = peer.breaker.first_byte(permit)
        feed, readany, time = reader.feed, content.readany, loop.time
        while True:
            watch.waiting_since = time()
            chunk = await readany()
            watch.waiting_since = 0.0
            parts = feed(chunk) if chunk else reader.end()
            if reader.done:
                break
            if parts:
                yield parts
        watch.stop()
        peer.breaker.succeeded(permit)
        peer.linger(response)
        response = None
        yield _finished(parts, loop.time() - started)
    except OperatorError as error:
        _judge(peer, permit, error)
        raise
    except AnswerError as error:
        peer.breaker.failed(permit)
        said = mask(prompt.message, error.said)
        if error.parts:
            yield error.parts
        raise peer.wrong(call, error.detail, said, error.raw) from None
    except EventTooLargeError:
        peer.breaker.succeeded(permit)
        raise _too_large(peer) from None
    except aiohttp.ClientError as error:
        peer.breaker.failed(permit)
        if watch is not None and watch.limit:
            raise peer.timed_out(call, watch.limit) from None
        raise peer.failure(call, error) from error
    except BaseException:
        peer.breaker.abandoned(permit)
        raise
    finally:
        if watch is not None:
            watch.stop()
        if response is not None:
            _cut(response)


async def _open(
    peer: Peer, path: str, body: bytes, message: str, within: float
) -> aiohttp.ClientResponse:
    try:
        async with asyncio.timeout(within):
            return await peer.open("POST", path, body, headers=SEND_HEADERS, hide=message)
    except TimeoutError:
        raise peer.timed_out(f"POST {path}", "first byte") from None


async def _whole(peer: Peer, content: aiohttp.StreamReader, watch: _Watch) -> bytes:
    """A body that is one document, bounded."""
    loop = asyncio.get_running_loop()
    body = bytearray()
    while chunk := await content.readany():
        watch.waiting_since = loop.time()
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise _too_large(peer)
    return bytes(body)


def _judge(peer: Peer, permit: int, error: OperatorError) -> None:
    if isinstance(error, PeerRefusedError) or error.code is ErrorCode.REPLY_TOO_LARGE:
        peer.breaker.succeeded(permit)
    else:
        peer.breaker.failed(permit)


def _too_large(peer: Peer) -> OperatorError:
    detail = f"{peer.name} sent more than {MAX_ANSWER_BYTES} bytes at once"
    return OperatorError(ErrorCode.REPLY_TOO_LARGE, detail)


def _finished(parts: list[Part], seconds: float) -> list[Part]:
    """``parts`` up to their Done, which has a latency from here on."""
    done = parts[-1]
    if isinstance(done, Done) and done.latency_ms is None:
        parts[-1] = msgspec.structs.replace(done, latency_ms=round(seconds * 1000, 1))
    return parts


def _cut(response: aiohttp.ClientResponse) -> None:
    """Close the connection now, without waiting for what is still to be sent."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()
