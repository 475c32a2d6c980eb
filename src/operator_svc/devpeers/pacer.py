"""Sends many streams, each at its own pace, from one timer.

A timer and a task for each token would cost more than the service under test: five hundred
streams share one timer, and a token that is already encoded is one write to its connection.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from typing import TypeAlias

GRID = 0.001
"""Seconds to which the times of all streams are rounded up, so that they coincide."""
BACKLOG_BYTES = 256 * 1024
"""Unsent bytes above which a connection gets no more until its reader catches up."""


def chunk(data: bytes) -> bytes:
    """``data`` as a chunk of a chunked HTTP body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class PacedStream:
    """One stream: sends ``frames`` (already chunks) to ``transport``, one every ``interval``."""

    __slots__ = ("done", "frames", "interval", "sent", "transport")

    def __init__(
        self, transport: asyncio.Transport, frames: Iterator[bytes], interval: float
    ) -> None:
        self.transport = transport
        self.frames = frames
        self.interval = interval
        self.sent = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def step(self) -> bool:
        """Send the next frame; returns False at the end, and where the reader left."""
        if self.transport.is_closing() or self.done.done():
            self.finish()
            return False
        if self.transport.get_write_buffer_size() > BACKLOG_BYTES:
            return True
        frame = next(self.frames, None)
        if frame is None:
            self.finish()
            return False
        self.transport.write(frame)
        self.sent += 1
        return True

    def finish(self) -> None:
        """Resolve ``done``."""
        if not self.done.done():
            self.done.set_result(None)


Entry: TypeAlias = tuple[float, int, PacedStream]


class Pacer:
    """Timer of all streams."""

    def __init__(self) -> None:
        self._due: list[Entry] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0

    def add(self, stream: PacedStream) -> None:
        """Start ``stream``; its first frame is due after one interval."""
        loop = asyncio.get_running_loop()
        self._push(loop.time() + stream.interval, stream)
        self._arm(loop)

    def _push(self, when: float, stream: PacedStream) -> None:
        self._count += 1  # orders equal times, in the order in which they were added
        heapq.heappush(self._due, (when, self._count, stream))

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._due:
            return
        when = (self._due[0][0] // GRID + 1) * GRID
        if self._timer is not None:
            if self._when <= when:
                return
            self._timer.cancel()
        self._when = when
        self._timer = loop.call_at(when, self._send_due, loop)

    def _send_due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        due = self._due
        while due and due[0][0] <= now:
            when, _, stream = heapq.heappop(due)
            if stream.step():
                self._push(max(when + stream.interval, now - stream.interval), stream)
        self._arm(loop)

    def close(self) -> None:
        """End all streams."""
        if self._timer is not None:
            self._timer.cancel()
        for _, _, stream in self._due:
            stream.finish()
        self._due.clear()
