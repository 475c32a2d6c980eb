"""Sends the clients of feeds that are over away, a few in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from operator_svc.background import in_turns

Dismissal: TypeAlias = Callable[[], None]
"""Sends one client away."""


class Dismissals:
    """The clients that are still to be sent away: a switch-over ends all feeds at once."""

    def __init__(self) -> None:
        self._waiting: deque[Dismissal] = deque()
        self._wake = asyncio.Event()

    def add(self, dismissals: Iterable[Dismissal]) -> None:
        """Send these away as well, after those before them."""
        self._waiting.extend(dismissals)
        self._wake.set()

    async def run(self) -> None:
        """Wait for clients that are added, and send them away. To be repeated, also where it fails:
        one that cannot be sent away keeps no other one."""
        await self._wake.wait()
        async for dismiss in in_turns(self._taken()):
            dismiss()
        self._wake.clear()

    def _taken(self) -> Iterator[Dismissal]:
        while self._waiting:
            yield self._waiting.popleft()
