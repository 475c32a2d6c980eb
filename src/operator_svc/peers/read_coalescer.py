"""Reads streamed answers together while the process is busy: fewer reads, and fuller ones.

As long as the event loop has time, each piece is read when it comes. When it has not, most of its
time goes to system calls: a wait, a read and a write for each token. All answers are then left to
the kernel and read every ``INTERVAL``: what came of each in between is read, parsed, encoded and
sent as one piece.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from operator_svc import telemetry

INTERVAL = 0.04
"""Seconds from one reading of an answer to the next: the most that a piece is held back. Readers
see no difference to single tokens at that pace."""
GROUPS = 4
"""Groups of answers, which are read one after the other within an interval, so that no turn of the
event loop is long."""
BUSY, CALM = 0.4, 0.15
"""Share of the loop's time above which answers are held back, and below which they are not any
more. Held back, the same streams take about half of the time, or less."""
WEIGHT = 0.08
"""Weight of the last look in that share, so that a short rush holds nothing back: some 0.1 s."""


class HeldReader(Protocol):
    """An answer that is being read."""

    def hold(self) -> None:
        """Read nothing until ``release``."""

    def release(self) -> None:
        """Read what comes when it comes."""

    def pull(self) -> None:
        """Read what has come, if anything has, and then no more."""


class ReadCoalescer:
    """Measures how busy the event loop is, and reads all answers together while it is."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._groups: list[set[HeldReader]] = [set() for _ in range(GROUPS)]
        self._group_of: dict[HeldReader, set[HeldReader]] = {}
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._seen = 0.0
        self._used = 0.0
        self._load = 0.0
        self.busy = False

    def enter(self, reader: HeldReader) -> None:
        """Read an answer together with the others from now on; ``leave`` follows."""
        # The group whose turn is over: what follows on a first piece comes a whole interval later.
        group = self._group_of[reader] = self._groups[self._next - 1]
        group.add(reader)
        if self.busy:
            reader.hold()
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._seen, self._used = loop.time(), self._clock()
            self._due = self._seen + INTERVAL / GROUPS
            self._timer = loop.call_at(self._due, self._look, loop)

    def leave(self, reader: HeldReader) -> None:
        """Read an answer as it comes again."""
        self._group_of.pop(reader).discard(reader)
        if self.busy:
            reader.release()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        late = max(now - self._due, 0.0)
        self._measure(now, late)
        if not self._group_of:
            self._load = 0.0
            self._turn(busy=False)
            return
        self._due = max(self._due + INTERVAL / GROUPS, now)
        self._timer = loop.call_at(self._due, self._look, loop)
        # A look that comes late reads the groups whose time has passed, too.
        for _ in range(min(1 + int(late / (INTERVAL / GROUPS)), GROUPS)):
            group = self._groups[self._next]
            self._next = (self._next + 1) % GROUPS
            if self.busy:
                for reader in list(group):
                    reader.pull()

    def _measure(self, now: float, late: float) -> None:
        """Note the share of its time that the loop worked, or came late for want of a processor."""
        used = self._clock()
        share = (used - self._used) / max(now - self._seen, 1e-6)
        self._seen, self._used = now, used
        self._load += WEIGHT * (min(max(share, late / INTERVAL), 1.0) - self._load)
        self._turn(busy=self._load > (CALM if self.busy else BUSY))

    def _turn(self, *, busy: bool) -> None:
        if busy == self.busy:
            return
        self.busy = busy
        telemetry.READS_COALESCED.set(busy)
        for reader in self._group_of:
            if busy:
                reader.hold()
            else:
                reader.release()
