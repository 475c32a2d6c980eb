"""One chat call: sent once, read incrementally, limited in time, closed at once when cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Protocol, TypeAlias

import msgspec

from operator_svc.background import LARGE, aside
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.peers.answer_body import AnswerBody
from operator_svc.peers.answer_reader import AnswerReader
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
from operator_svc.peers.read_coalescer import ReadCoalescer
from operator_svc.peers.time_limit import TimeLimit
from operator_svc.protocol.sse import EventTooLargeError

SEND_HEADERS = {"Accept": "text/event-stream, application/json;q=0.5"}
EVENT_STREAM = "text/event-stream"
BOM = b"\xef\xbb\xbf"
FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""Beginnings of an event stream."""
DOCUMENTS = (b"{", b"[", b'"', b"<")
"""Beginnings of a document, which mean nothing in an event stream."""
MAX_BLANK = 4096
"""Bytes of white space that may stand before either."""

Show: TypeAlias = Callable[[str], bool]
"""Shows a text of an answer at once; False where it did not, and the text is to be yielded."""


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


async def stream(
    peer: Peer,
    dialect: Dialect,
    prompt: Prompt,
    timeouts: Timeouts,
    coalescer: ReadCoalescer,
    show: Show,
) -> AsyncGenerator[list[Part], None]:
    """The answer's parts, a list for each read as ``coalescer`` has it; the last ends with Done.

    A read of nothing but plain text that comes while the caller waits is given to ``show``.
    Raises ChatError with the peer's codes. Leaving early (``aclose``, cancellation) closes
    the connection at once, so that the peer can see it.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    engine = dialect.engine(prompt)
    reader = dialect.reader()
    answer: AnswerBody | None = None
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
                    answer.read_with(coalescer, partial(_shown, reader, show))
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
        failure = _failure(peer, f"POST {dialect.path}", prompt.message, reader, error)
        _judge(peer, permit, failure)
        if isinstance(error, AnswerError) and error.parts:
            yield error.parts
        raise ChatError(failure, _named(reader.ending(), engine)) from failure
    except BaseException:
        peer.breaker.abandoned(permit)
        raise
    finally:
        if answer is not None:
            answer.close()


def _judge(peer: Peer, permit: int, failure: OperatorError) -> None:
    """Tell the breaker whether the peer is at fault."""
    if isinstance(failure, PeerWorksError):
        peer.breaker.succeeded(permit)
    else:
        peer.breaker.failed(permit)


def _shown(reader: AnswerReader, show: Show, chunk: bytes) -> bool:
    """True where ``chunk`` is plain text, and is shown; False leaves it to be fed."""
    if len(chunk) > LARGE or (text := reader.plain_text(chunk)) is None:
        return False
    return show(text)


async def _ask(
    peer: Peer, dialect: Dialect, prompt: Prompt, timeouts: Timeouts, reader: AnswerReader
) -> AnswerBody:
    """Send the prompt, again where the dialect can do without what was refused."""
    call = f"POST {dialect.path}"
    deadline = asyncio.get_running_loop().time() + timeouts.total
    try:
        async with TimeLimit(min(timeouts.first_byte, timeouts.total)):
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
    return AnswerBody(peer, call, response, timeouts.idle, deadline)


async def _begin(answer: AnswerBody) -> tuple[bytes, bool]:
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
    error: AnswerError | EventTooLargeError | OperatorError,
) -> OperatorError:
    """The error for an answer that is none; a PeerWorksError where the peer is not at fault."""
    if isinstance(error, OperatorError):
        return error
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
