"""One chat call: sent once, read incrementally, limited in time, closed at once when cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Protocol

import aiohttp
import msgspec

from operator_svc.background import aside
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.answer_reader import MAX_EVENT_BYTES, AnswerReader
from operator_svc.peers.base import Peer, PeerRefusedError
from operator_svc.peers.chat_types import (
    AnswerError,
    AnswerTooLargeError,
    ChatError,
    CutError,
    Done,
    NoAnswerError,
    Part,
    Prompt,
    ReportedError,
)
from operator_svc.peers.failures import PeerWorksError
from operator_svc.peers.peer_errors import mask
from operator_svc.protocol.sse import EventTooLargeError

MAX_ANSWER_BYTES = MAX_EVENT_BYTES
"""Largest JSON answer, and largest event. Well above what 200,000 characters can need (twelve
bytes each when escaped, sent twice), so that an overlong reply is still kept up to its limit."""
END_GRACE = 2.0
"""Seconds for what may follow a reply's end, such as its usage; then the reply ends without it."""
SEND_HEADERS = {"Accept": "text/event-stream, application/json;q=0.5"}
EVENT_STREAM = "text/event-stream"
BOM = b"\xef\xbb\xbf"
FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""Beginnings of an event stream."""
DOCUMENTS = (b"{", b"[", b'"', b"<")
"""Beginnings of a document, which mean nothing in an event stream."""
MAX_BLANK = 4096
"""Bytes of white space that may stand before either."""


class Timeouts(msgspec.Struct, frozen=True):
    """Limits of one chat call, in seconds; ``first_byte`` includes connecting."""

    first_byte: float
    idle: float
    total: float


class Dialect(Protocol):
    """Protocol of an upstream: makes the call's body and reads its answer."""

    path: str

    def engine(self, prompt: Prompt) -> str | None:
        """The engine that ``prompt`` asks for by name."""

    def body(self, prompt: Prompt) -> bytes:
        """The call's body, JSON."""

    def adapt(self, refusal: PeerRefusedError) -> bool:
        """True where the call can be sent again in another form, which ``body`` then makes."""

    def reader(self) -> AnswerReader:
        """A reader for one answer."""


class _Expired(aiohttp.ClientError):
    """Put into the answer's stream by its timer, to end the read that waits."""


class _Answer:
    """The body of an answer, bounded in silence and in time.

    One timer for the whole answer: a read only notes when it began to wait, and the timer,
    when it fires, sees whether that was long ago. Nothing is counted while the caller is busy
    with what it has (``_waiting_since`` is 0 then).
    """

    def __init__(
        self, peer: Peer, call: str, response: aiohttp.ClientResponse, idle: float, deadline: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._peer = peer
        self._call = call
        self._response: aiohttp.ClientResponse | None = response
        self._content = response.content
        self._idle = idle
        self._deadline = deadline
        self._ended = False
        self._limit = ""
        self._waiting_since = self._loop.time()
        self._timer = self._loop.call_at(min(self._waiting_since + idle, deadline), self._look)
        self.content_type = response.content_type

    async def read(self) -> bytes:
        """The next bytes, none at the end; raises OperatorError for a cut and for a timeout."""
        self._waiting_since = self._loop.time()
        try:
            chunk = await self._content.readany()
        except aiohttp.ClientError as error:
            if self._ended:
                return b""
            if self._limit:
                raise self._peer.timed_out(self._call, self._limit) from None
            raise self._peer.failure(self._call, error) from error
        self._waiting_since = 0.0
        return chunk

    async def rest(self, head: bytes) -> bytes:
        """All of a body that begins with ``head``; raises AnswerTooLargeError."""
        body = bytearray(head)
        while len(body) <= MAX_ANSWER_BYTES and (chunk := await self.read()):
            body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise AnswerTooLargeError(f"its answer has more than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)

    def expect_end(self) -> None:
        """The reply has ended: what follows may take ``END_GRACE``, and may be cut."""
        if not self._ended:
            self._ended = True
            self._deadline = min(self._deadline, self._loop.time() + END_GRACE)
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look)

    def finish(self) -> None:
        """Keep the connection for the next call, if the rest of the answer comes soon."""
        self._timer.cancel()
        if self._response is not None:
            self._peer.linger(self._response)
            self._response = None

    def close(self) -> None:
        """Close the connection, unless the answer is finished, without waiting for its rest."""
        self._timer.cancel()
        response, self._response = self._response, None
        if response is not None:
            connection = response.connection
            if connection is not None and connection.transport is not None:
                connection.transport.abort()
            response.close()

    def _look(self) -> None:
        now = self._loop.time()
        since = self._waiting_since
        if now >= self._deadline:
            self._limit = "total"
        elif since and now >= since + self._idle:
            self._limit = "idle"
        if self._limit:
            self._content.set_exception(_Expired())
            return
        again = since + self._idle if since else now + self._idle / 8
        self._timer = self._loop.call_at(min(again, self._deadline), self._look)


async def stream(
    peer: Peer, dialect: Dialect, prompt: Prompt, timeouts: Timeouts
) -> AsyncGenerator[list[Part], None]:
    """The answer's parts, a list for each read; the last list ends with Done.

    Raises ChatError with the peer's codes. Leaving early (``aclose``, cancellation) closes
    the connection at once, so that the peer can see it.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    engine = dialect.engine(prompt)
    reader = dialect.reader()
    answer: _Answer | None = None
    try:
        permit = peer.breaker.acquire()
    except OperatorError as error:
        raise ChatError(error, Done(provider=engine)) from error
    try:
        answer = await _ask(peer, dialect, prompt, timeouts, reader)
        head, is_stream = await _begin(answer)
        if is_stream:
            permit = peer.breaker.first_byte(permit)
            chunk = head
            while True:
                size = reader.held + len(chunk)
                parts = await aside(size, partial(reader.feed, chunk) if chunk else reader.end)
                if reader.done:
                    break
                if parts:
                    yield parts
                if reader.ended:
                    answer.expect_end()
                chunk = await answer.read()
        else:
            body = await answer.rest(head)
            parts = await aside(len(body), partial(reader.whole, body))
        answer.finish()
        peer.breaker.succeeded(permit)
        done = parts.pop()
        assert isinstance(done, Done), "an answer that is done ends with Done"
        yield [*parts, _named(done, engine, loop.time() - started)]
    except (AnswerError, EventTooLargeError, OperatorError) as error:
        if isinstance(error, OperatorError):
            failure = error
        else:
            failure = _failure(peer, f"POST {dialect.path}", prompt.message, reader, error)
        if isinstance(failure, PeerWorksError):
            peer.breaker.succeeded(permit)
        else:
            peer.breaker.failed(permit)
        if isinstance(error, AnswerError) and error.parts:
            yield error.parts
        raise ChatError(failure, _named(reader.ending(), engine)) from failure
    except BaseException:
        peer.breaker.abandoned(permit)
        raise
    finally:
        if answer is not None:
            answer.close()


async def _ask(
    peer: Peer, dialect: Dialect, prompt: Prompt, timeouts: Timeouts, reader: AnswerReader
) -> _Answer:
    """Send the prompt, again where the dialect can do without what was refused."""
    call = f"POST {dialect.path}"
    deadline = asyncio.get_running_loop().time() + timeouts.total
    try:
        async with asyncio.timeout(min(timeouts.first_byte, timeouts.total)):
            while True:
                try:
                    asked = "POST", dialect.path, dialect.body(prompt)
                    response = await peer.open(*asked, headers=SEND_HEADERS, hide=prompt.message)
                    break
                except PeerRefusedError as refusal:
                    reader.take_refusal(refusal)
                    if not dialect.adapt(refusal):
                        raise
    except TimeoutError:
        raise peer.timed_out(call, "first byte") from None
    return _Answer(peer, call, response, timeouts.idle, deadline)


async def _begin(answer: _Answer) -> tuple[bytes, bool]:
    """The answer's first bytes, and True where they begin an event stream.

    Proxies and small servers send streams as ``text/plain`` or as JSON, and documents as
    streams: the declared type counts only where the bytes do not tell.
    """
    head = b""
    while len(head) < MAX_BLANK and (chunk := await answer.read()):
        head += chunk
        start = head.removeprefix(BOM).lstrip()
        if start[:1] in DOCUMENTS:
            return head, False
        if start.startswith(FIELDS):
            return head, True
        if start and not any(field.startswith(start) for field in (*FIELDS, BOM)):
            break
    return head, answer.content_type == EVENT_STREAM


def _failure(
    peer: Peer,
    call: str,
    message: str,
    reader: AnswerReader,
    error: AnswerError | EventTooLargeError,
) -> OperatorError:
    """The error for an answer that is none; a PeerWorksError where the peer is not at fault."""
    if isinstance(error, EventTooLargeError):
        error = AnswerTooLargeError(str(error))
    said = mask(message, error.said)
    if isinstance(error, NoAnswerError):
        said = said or f"finish_reason {reader.finish_reason}"
    failure = peer.wrong(call, error.detail, said, error.raw)
    if isinstance(error, AnswerTooLargeError):
        code = ErrorCode.REPLY_TOO_LARGE
    elif isinstance(error, ReportedError):
        code = peer.failures.busy if error.busy else peer.failures.error
    elif isinstance(error, NoAnswerError):
        filtered = reader.finish_reason == "content_filter"
        code = ErrorCode.CONTENT_FILTERED if filtered else ErrorCode.NO_ANSWER
    elif isinstance(error, CutError):  # as an upstream that dies does
        return OperatorError(failure.code, failure.detail)
    else:
        return failure
    return PeerWorksError(code, failure.detail)


def _named(ending: Done, engine: str | None, seconds: float | None = None) -> Done:
    """``ending`` with what it does not tell: the engine that was asked for, and the time."""
    latency_ms = ending.latency_ms
    if latency_ms is None and seconds is not None:
        latency_ms = round(seconds * 1000, 1)
    provider = ending.provider or engine
    return msgspec.structs.replace(ending, provider=provider, latency_ms=latency_ms)
