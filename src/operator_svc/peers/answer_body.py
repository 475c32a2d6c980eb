"""The body of a chat's answer: bounded in silence and in time, and read with others when busy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context

import aiohttp

from operator_svc.peers.answer_reader import MAX_EVENT_BYTES
from operator_svc.peers.base import Peer
from operator_svc.peers.chat_types import AnswerTooLargeError
from operator_svc.peers.http_response import Response
from operator_svc.peers.read_coalescer import ReadCoalescer
from operator_svc.peers.time_limit import LOOK_AGAIN

MAX_ANSWER_BYTES = MAX_EVENT_BYTES
"""Largest JSON answer, and largest event. Well above what 200,000 characters can need (twelve
bytes each when escaped, sent twice), so that an overlong reply is still kept up to its limit."""
END_GRACE = 2.0
"""Seconds for what may follow a reply's end, such as its usage; then the reply ends without it."""


class _Expired(aiohttp.ClientError):
    """Put into the answer's stream by its timer, to end the read that waits."""


class AnswerBody:
    """The body of an answer, bounded in silence and in time.

    One timer for the whole answer: a read only notes when it began to wait, and the timer,
    when it fires, sees whether that was long ago. Nothing is counted while the caller is busy
    with what it has (``_waiting_since`` is 0 then).
    """

    def __init__(
        self, peer: Peer, call: str, response: Response, idle: float, deadline: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._peer = peer
        self._call = call
        self._response = response
        self._coalescer: ReadCoalescer | None = None
        self._idle = idle
        self._deadline = deadline
        self._ended = self._finished = False
        self._limit = ""
        self._overdue = 0.0
        self._waiting_since = self._loop.time()
        self._timer = self._loop.call_at(min(self._waiting_since + idle, deadline), self._look)
        self.content_type = response.content_type

    async def read(self) -> bytes:
        """The next bytes, none at the end; raises OperatorError for a cut and for a timeout."""
        self._wait()
        try:
            chunk = await self._response.read()
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
        self._finished = True
        self.close()
        self._peer.linger(self._response)

    def close(self) -> None:
        """Close the connection, unless the answer is finished, without waiting for its rest."""
        self._timer.cancel()
        coalescer, self._coalescer = self._coalescer, None
        if coalescer is not None:
            coalescer.leave(self)
        if not self._finished:
            self._response.close()

    def _wait(self) -> None:
        """Note that the caller waits from now on."""
        self._waiting_since = self._loop.time()
        if self._coalescer is not None and self._coalescer.busy:
            self.hold()  # what was pulled has come

    # Together with others.

    def read_with(self, coalescer: ReadCoalescer, take: Callable[[bytes], bool]) -> None:
        """Have ``coalescer`` say when to read what follows; a second call changes nothing.

        What comes while a ``read`` waits is given to ``take``, in the context of this call. The
        ``read`` returns what ``take`` leaves, for which it returns False.
        """
        if self._coalescer is not None:
            return
        context = copy_context()  # the connection has that of the call that made it

        def take_waiting(chunk: bytes) -> bool:
            taken = context.run(take, chunk)
            if taken:
                self._wait()
            return taken

        self._response.tap(take_waiting)
        self._coalescer = coalescer
        coalescer.enter(self)

    def hold(self) -> None:
        """See HeldReader.hold."""
        self._response.pause()

    def release(self) -> None:
        """See HeldReader.release."""
        self._response.resume()

    def pull(self) -> None:
        """See HeldReader.pull. Nothing is read while the caller is busy with what it has."""
        if self._waiting_since:
            self._response.resume()

    def _look(self) -> None:
        now = self._loop.time()
        since = self._waiting_since
        due = min(since + self._idle, self._deadline) if since else self._deadline
        if now < due:
            self._look_at(due if since else min(now + self._idle / 8, due))
        elif due != self._overdue:
            self._overdue = due
            self._look_at(now + LOOK_AGAIN)
        else:
            self._limit = "total" if due == self._deadline else "idle"
            self._response.fail(_Expired())

    def _look_at(self, due: float) -> None:
        self._timer = self._loop.call_at(due, self._look)
