"""The bounded queue between a session's news and one client that may read slowly.

A frame goes straight to the transport while that takes it. Once it does not, frames queue up
here, pieces of one reply are merged, and a client that lets more than the bound pile up is cut
off: it comes back and resumes. Nothing here ever waits for a client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from operator_svc import telemetry
from operator_svc.background import TaskOwner
from operator_svc.protocol.frames import Delta, encode


class Sink(Protocol):
    """The transport of one client."""

    def writable(self) -> bool:
        """Whether a frame can be written now without queueing up in memory."""

    def write(self, frame: bytes, seq: int | None) -> None:
        """Hand one frame to the transport; ``seq`` where it is an event."""

    async def drain(self) -> None:
        """Wait until the transport is writable. Raises ConnectionError when it is gone."""

    def overflow(self) -> None:
        """The client is too slow: cut it off."""

    def gone(self) -> None:
        """The session was deleted: say so and close."""


class _Queued:
    """A frame that waits; a piece of a reply can still grow."""

    __slots__ = ("data", "end", "head", "parts", "seq", "size")

    def __init__(self, data: bytes, seq: int | None, head: Delta | None) -> None:
        self.data = data
        self.seq = seq
        self.size = len(data)
        self.head = head
        self.end = head.end if head else 0
        self.parts: list[str] | None = None

    def grow(self, delta: Delta, size: int) -> None:
        assert self.head is not None
        if self.parts is None:
            self.parts = [self.head.content]
        self.parts.append(delta.content)
        self.end = delta.end
        self.size += size

    def frame(self) -> bytes:
        if self.parts is None or self.head is None:
            return self.data
        return encode(
            Delta(
                reply_id=self.head.reply_id,
                offset=self.head.offset,
                end=self.end,
                content="".join(self.parts),
                kind=self.head.kind,
            )
        )


class SendQueue:
    """What one client is still to get, in order; at most ``limit`` bytes of it."""

    def __init__(self, sink: Sink, tasks: TaskOwner, limit: int) -> None:
        self._sink = sink
        self._tasks = tasks
        self._limit = limit
        self._queue: deque[_Queued] = deque()
        self._growing: dict[tuple[int, str], _Queued] = {}
        self._bytes = 0
        self._flusher: asyncio.Task[None] | None = None
        self.closed = False

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait here."""
        return self._bytes

    def frame(self, data: bytes, seq: int | None = None) -> None:
        """Send a frame, now or as soon as the client reads."""
        if self.closed:
            return
        if not self._queue and self._sink.writable():
            self._sink.write(data, seq)
            return
        self._growing.clear()
        self._enqueue(_Queued(data, seq, None))

    def delta(self, delta: Delta, data: bytes) -> None:
        """Send a piece of a reply (``data`` is its frame), merged with one that still waits."""
        if self.closed:
            return
        if not self._queue and self._sink.writable():
            self._sink.write(data, None)
            return
        key = (delta.reply_id, delta.kind)
        waiting = self._growing.get(key)
        if waiting is not None and waiting.end == delta.offset:
            size = len(delta.content.encode())
            waiting.grow(delta, size)
            self._bytes += size
            telemetry.QUEUED_BYTES.inc(size)
            telemetry.MERGED_DELTAS.inc()
            self._check()
            return
        self._growing[key] = entry = _Queued(data, None, delta)
        self._enqueue(entry)

    async def send(self, data: bytes, seq: int | None = None) -> None:
        """Send a frame at the client's own pace, outside the bound: for replaying.

        Raises ConnectionError when the client is gone.
        """
        await self.ready()
        self._sink.write(data, seq)

    @property
    def idle(self) -> bool:
        """Whether the client has taken all that there was."""
        return not self._queue and self._sink.writable()

    async def ready(self) -> None:
        """Wait until the client has taken all that there was; where it has, for nothing.

        Raises ConnectionError when the client is gone.
        """
        while not self.closed and not self.idle:
            if self._flusher is not None:
                await asyncio.wait([self._flusher])
            else:
                await self._sink.drain()
        if self.closed:
            raise ConnectionResetError("the client is gone")

    def gone(self) -> None:
        """The session was deleted."""
        if not self.closed:
            self._sink.gone()

    def overflow(self) -> None:
        """The client cannot be kept current: cut it off, it comes back and resumes."""
        if not self.closed:
            self._sink.overflow()
            self.close()

    async def flushed(self) -> None:
        """Wait until nothing waits here any more, or the client is gone."""
        while self._flusher is not None and not self.closed:
            await asyncio.wait([self._flusher])

    def close(self) -> None:
        """Drop what waits; nothing is sent any more."""
        self.closed = True
        telemetry.QUEUED_BYTES.dec(self._bytes)
        self._queue.clear()
        self._growing.clear()
        self._bytes = 0
        if self._flusher is not None:
            self._flusher.cancel()

    def _enqueue(self, entry: _Queued) -> None:
        self._queue.append(entry)
        self._bytes += entry.size
        telemetry.QUEUED_BYTES.inc(entry.size)
        if self._flusher is None:
            self._flusher = self._tasks.start(self._flush(), "outbox")
        self._check()

    def _check(self) -> None:
        if self._bytes > self._limit:
            telemetry.SLOW_CONSUMER_DISCONNECTS.inc()
            self.overflow()

    async def _flush(self) -> None:
        try:
            while self._queue:
                await self._sink.drain()
                while self._queue and self._sink.writable():
                    entry = self._queue.popleft()
                    if entry.head is not None:
                        self._growing.pop((entry.head.reply_id, entry.head.kind), None)
                    self._bytes -= entry.size
                    telemetry.QUEUED_BYTES.dec(entry.size)
                    self._sink.write(entry.frame(), entry.seq)
        except ConnectionError:
            self._flusher = None
            self.close()
        finally:
            self._flusher = None
