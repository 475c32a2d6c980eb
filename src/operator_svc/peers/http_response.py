"""A response of HTTP/1.1 as it comes: its head, then the pieces of its body.

llhttp parses it (httptools). aiohttp's parser calls a StreamReader for every chunk of a body, which
costs twenty times as much where a read brings many, and ten times for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MAX_HEAD_BYTES = 64 * 1024
"""Largest head. As many bytes may come in a row without one of the body: informational responses
(1xx), extensions of chunks, and the headers behind a chunked body are bounded so, too."""
HIGH_WATER = 64 * 1024
"""Bytes that wait to be read, above which no more is taken from the connection."""


class InvalidResponseError(aiohttp.ClientError):
    """Raised for a response that is not HTTP/1.1, or whose head is too large."""


class Response:
    """A response that ``transport`` brings; ``head`` waits for its status and headers.

    ``over`` is called once, at its end, with True where the connection can serve another call.
    """

    def __init__(self, transport: asyncio.Transport, over: Callable[[bool], None]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        """By the name in lower case; the first value of each, the last of Transfer-Encoding."""
        self.ended = False
        """True once all of the body has come, whether it has been read or not."""
        self._transport: asyncio.Transport | None = transport
        self._over: Callable[[bool], None] | None = over
        self._pieces: list[bytes] = []
        self._unread = 0
        self._header_bytes = 0
        self._without_body = 0
        self._informational = False
        self._keeps = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._at_end: Callable[[], None] | None = None
        self._held = self._full = self._paused = False
        self.on_body = self._pieces.append
        """See the parser's callbacks below."""
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        # As browsers and aiohttp do: servers that get these wrong are many.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    @property
    def content_type(self) -> str:
        """The media type, without parameters; empty where there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def at_end(self) -> bool:
        """True once all of the body has been read."""
        return self.ended and not self._pieces

    async def head(self) -> None:
        """Wait for the status and the headers; raises aiohttp.ClientError."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes:
        """The next bytes of the body, none at its end; raises aiohttp.ClientError where it is cut,
        and what ``take`` raises.
        """
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.ended:
                return b""
            await self._wait()
        return self._unread_bytes()

    def tap(self, take: Callable[[bytes], bool]) -> None:
        """Have what comes while a ``read`` waits given to ``take``, in the call that brings it.

        Most pieces are read, shown and forgotten: so they need no future, no turn of the event
        loop, and no step of the coroutines that wait. ``take`` returns False for what it leaves to
        the ``read``.
        """
        self._take = take

    def on_end(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once all of the body has come, or it was cut."""
        self._at_end = call

    def pause(self) -> None:
        """Take nothing from the connection until ``resume``."""
        self._held = True
        self._update_reading()

    def resume(self) -> None:
        """Take what comes."""
        self._held = False
        self._update_reading()

    def close(self) -> None:
        """Close the connection, unless all of the body has come."""
        self.fail(aiohttp.ClientConnectionError("the response was closed"))

    def fail(self, error: Exception) -> None:
        """Close the connection, unless all has come, and raise ``error`` where it is read."""
        if self._transport is not None:
            self._error = error
            self._finish(keeps=False)

    # What the connection calls.

    def feed(self, data: bytes) -> None:
        """Take bytes of the connection."""
        assert self._parser is not None, "a response that has ended is fed nothing"
        known = len(self._pieces)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.ended, self._keeps = True, False  # to a protocol that nobody asked for
        except HttpParserError as error:
            self._keeps = False
            if not self.ended:
                return self.fail(self._fault(str(error.__context__ or error)))
        self._unread += len(data)
        self._without_body = self._without_body + len(data) if len(self._pieces) == known else 0
        if self._header_bytes > MAX_HEAD_BYTES:
            self.status = 0
        if max(self._header_bytes, self._without_body) > MAX_HEAD_BYTES:
            return self.fail(self._fault(f"more than {MAX_HEAD_BYTES} bytes beside its body"))
        if self.ended:
            self._finish(keeps=self._keeps)
        else:
            self._notify()
            if self._unread > HIGH_WATER and self._pieces:
                self._full = True
                self._update_reading()
        return None

    def lost(self, error: Exception | None) -> None:
        """Note that the connection was lost, because of ``error`` if there is one."""
        if error is None and self.status and self._ends_with_connection():
            self.ended = True
            self._finish(keeps=False)
        elif self.status:
            self.fail(self._fault("the body was cut"))
        elif isinstance(error, OSError):
            self.fail(aiohttp.ClientOSError(*error.args))
        else:
            self.fail(aiohttp.ServerDisconnectedError())

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A response begins."""
        if self.ended:
            raise InvalidResponseError("a response that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or one of those that follow on a chunked body."""
        if self.status:
            return
        if b"\0" in value:
            raise InvalidResponseError("NUL in a header")
        self._header_bytes += len(name) + len(value)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key == "transfer-encoding":  # its last coding tells where the body ends
            self.headers[key] = text
        else:
            self.headers.setdefault(key, text)

    def on_headers_complete(self) -> None:
        """The end of a head."""
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 100:
            raise InvalidResponseError("no status")
        self._informational = 100 <= status <= 199 and status != 101
        if not self._informational:
            self.status = status

    def on_message_complete(self) -> None:
        """The end of a response."""
        if self._informational:
            self.headers.clear()
        elif not self.ended:
            assert self._parser is not None
            self.ended = True
            self._keeps = self._parser.should_keep_alive()

    # Inside.

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _notify(self) -> None:
        """Give what has come to ``take``, or wake who waits for it."""
        waiter = self._waiter
        if waiter is None or waiter.done() or not (self.status or self._error):
            return
        if self._take is not None and self._pieces:
            data = self._unread_bytes()
            try:
                if not self._take(data):
                    self._pieces.append(data)
            except Exception as fault:  # raised where the body is read
                if not waiter.done():
                    waiter.set_exception(fault)
                return
        if (self._pieces or self.ended or self._error or not self._take) and not waiter.done():
            waiter.set_result(None)

    def _unread_bytes(self) -> bytes:
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._unread = 0
        if self._full:
            self._full = False
            self._update_reading()
        return data

    def _update_reading(self) -> None:
        paused = self._held or self._full
        if paused is self._paused or self._transport is None or self._transport.is_closing():
            return
        self._paused = paused
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _ends_with_connection(self) -> bool:
        """True for a body whose length nothing tells (RFC 9112, 6.3)."""
        coding = self.headers.get("transfer-encoding", "").rpartition(",")[2]
        chunked = coding.strip(" \t").lower() == "chunked"
        return "content-length" not in self.headers and not chunked

    def _fault(self, reason: str) -> aiohttp.ClientError:
        kind = aiohttp.ClientPayloadError if self.status else InvalidResponseError
        return kind(reason)

    def _finish(self, *, keeps: bool) -> None:
        """Leave the connection, and tell who waits."""
        self._held = self._full = False
        self._update_reading()
        over, self._over = self._over, None
        self._transport = self._parser = None  # which refers to this response
        assert over is not None, "a response ends once"
        over(keeps)
        if self._at_end is not None:
            self._at_end()
        self._notify()
