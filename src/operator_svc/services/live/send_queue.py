"""The bounded queue between a session and one client, which may read slowly.

A frame goes straight to the transport while that takes it. Once it does not, frames queue up
here, pieces of one reply are merged, and a client that lets more than the bound pile up is
disconnected: it comes back and resumes. No writer ever waits for a client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from operator_svc import telemetry
from operator_svc.background import TaskOwner
from operator_svc.protocol.frames import PIECE_CHARS, Delta, encode
from operator_svc.services.byte_budget import ByteBudget
from operator_svc.services.live.events import LiveEvent

SHORT_OF_ROOM = 64 * 1024
"""Bytes of a queue while the budget of the process is used up."""
JOINED_BYTES = 32 * 1024
"""Bytes from which on frames that are sent together are written, without waiting for the rest: half
of what a transport takes before it asks to pause."""


class Sink(Protocol):
    """The transport of one client."""

    def writable(self) -> bool:
        """True while a frame can be written without queueing up in memory."""

    def encode(self, frame: bytes, seq: int | None) -> bytes:
        """The bytes of one frame as the transport sends it; ``seq`` where it is an event."""

    def write(self, encoded: bytes) -> None:
        """Hand over encoded frames: one system call, however many they are."""

    async def drain(self) -> None:
        """Wait until the transport is writable. Raises ConnectionError when it is gone."""

    def disconnect_slow(self) -> None:
        """The client cannot be kept current: end its connection, it comes back and resumes."""

    def state_changed(self) -> None:
        """End the connection, whose client comes back for the state: what it was shown is no part
        of that any more."""

    def session_deleted(self) -> None:
        """The session was deleted: end the connection for good."""


class _QueuedFrame:
    """A frame that waits; a piece of a reply can still grow."""

    __slots__ = ("data", "end", "head", "parts", "seq", "size")

    def __init__(self, data: bytes, seq: int | None, head: Delta | None) -> None:
        self.data = data
        self.seq = seq
        self.size = len(data)
        self.head = head
        self.end = head.end if head else 0
        self.parts: list[str] | None = None

    def is_followed_by(self, delta: Delta) -> bool:
        """True where ``delta`` is the next piece of the text, and fits into the same frame."""
        assert self.head is not None
        return self.end == delta.offset and delta.end - self.head.offset <= PIECE_CHARS

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
    """The frames that one client is still to get, in order; at most ``limit`` bytes of them."""

    def __init__(self, sink: Sink, tasks: TaskOwner, limit: int, budget: ByteBudget) -> None:
        self._sink = sink
        self._tasks = tasks
        self._limit = limit
        self.budget = budget
        self._queue: deque[_QueuedFrame] | None = None
        """None until something waits, which most clients never need: an empty deque has 600 B."""
        self._growing: dict[tuple[int, str], _QueuedFrame] = {}
        self._bytes = 0
        self._flusher: asyncio.Task[None] | None = None
        self.closed = False

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the client."""
        return self._bytes

    def frame(self, data: bytes, seq: int | None = None) -> None:
        """Send a frame, now or as soon as the client reads."""
        if self.closed:
            return
        sink = self._sink
        if not self._queue and sink.writable():
            sink.write(sink.encode(data, seq))
            return
        self._growing.clear()
        self._enqueue(_QueuedFrame(data, seq, None))

    def event(self, event: LiveEvent) -> None:
        """Send an event."""
        self.frame(event.frame, event.seq or None)

    def events(self, events: Sequence[LiveEvent]) -> None:
        """Send few or short events that follow on each other, in one write to a client that
        reads."""
        sink = self._sink
        if len(events) > 1 and not self.closed and not self._queue and sink.writable():
            sink.write(b"".join([sink.encode(event.frame, event.seq or None) for event in events]))
            return
        for event in events:
            self.event(event)

    def delta(self, delta: Delta, data: bytes) -> None:
        """Send a piece of a reply (``data`` is its frame), merged with one that still waits."""
        if self.closed:
            return
        sink = self._sink
        if not self._queue and sink.writable():
            sink.write(sink.encode(data, None))
            return
        key = (delta.reply_id, delta.kind)
        waiting = self._growing.get(key)
        if waiting is not None and waiting.is_followed_by(delta):
            size = len(delta.content.encode())
            waiting.grow(delta, size)
            self._count(size)
            telemetry.MERGED_DELTAS.inc()
            self._check()
            return
        self._growing[key] = entry = _QueuedFrame(data, None, delta)
        self._enqueue(entry)

    async def send(self, data: bytes, seq: int | None = None) -> None:
        """Send a frame at the client's own pace, outside the bound: for replaying.

        Raises ConnectionError when the client is gone.
        """
        await self.send_all(((data, seq),))

    async def send_all(self, frames: Iterable[tuple[bytes, int | None]]) -> None:
        """Send many frames as ``send`` does, in few writes."""
        joined: list[bytes] = []
        size = 0
        for data, seq in frames:
            joined.append(encoded := self._sink.encode(data, seq))
            size += len(encoded)
            if size >= JOINED_BYTES:
                await self._send(joined)
                joined, size = [], 0
        if joined:
            await self._send(joined)

    async def _send(self, encoded: list[bytes]) -> None:
        await self.wait_drained()
        self._sink.write(b"".join(encoded))

    @property
    def idle(self) -> bool:
        """True once the client has taken all that there was."""
        return not self._queue and self._sink.writable()

    async def wait_drained(self) -> None:
        """Wait until the client has taken all that there was.

        Raises ConnectionError when the client is gone.
        """
        while not self.closed and not self.idle:
            if self._flusher is not None:
                await asyncio.wait([self._flusher])
            else:
                await self._sink.drain()
        if self.closed:
            raise ConnectionResetError("the client is gone")

    def session_deleted(self) -> None:
        """See Sink.session_deleted."""
        if not self.closed:
            self._sink.session_deleted()

    def state_changed(self) -> None:
        """See Sink.state_changed; what waits is dropped."""
        if not self.closed:
            self._sink.state_changed()
            self.close()

    def disconnect_slow(self) -> None:
        """See Sink.disconnect_slow; what waits is dropped."""
        if not self.closed:
            self._sink.disconnect_slow()
            self.close()

    async def flushed(self) -> None:
        """Wait until the queue is empty, or the client is gone."""
        while self._flusher is not None and not self.closed:
            await asyncio.wait([self._flusher])

    def close(self) -> None:
        """Drop what waits; nothing is sent any more."""
        self.closed = True
        self._count(-self._bytes)
        self._queue = None
        self._growing.clear()
        if self._flusher is not None:
            self._flusher.cancel()

    def _enqueue(self, entry: _QueuedFrame) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append(entry)
        self._count(entry.size)
        if self._flusher is None:
            self._flusher = self._tasks.start(self._flush(), "send-queue")
        self._check()

    def _count(self, size: int) -> None:
        self._bytes += size
        self.budget.add(size)
        telemetry.QUEUED_BYTES.inc(size)

    def _check(self) -> None:
        limit = min(self._limit, SHORT_OF_ROOM) if self.budget.exhausted else self._limit
        if self._bytes > limit:
            telemetry.SLOW_CONSUMER_DISCONNECTS.inc()
            self.disconnect_slow()

    async def _flush(self) -> None:
        try:
            while self._queue:
                await self._sink.drain()
                while self._queue and self._sink.writable():
                    entry = self._queue.popleft()
                    if entry.head is not None:
                        self._growing.pop((entry.head.reply_id, entry.head.kind), None)
                    self._count(-entry.size)
                    self._sink.write(self._sink.encode(entry.frame(), entry.seq))
        except ConnectionError:
            self._flusher = None
            self.close()
        finally:
            self._flusher = None
