"""The progress of clients in reading what they are sent."""

from __future__ import annotations

import asyncio

from aiohttp.base_protocol import BaseProtocol

from operator_svc.errors import drop_frames
from operator_svc.rest.server import tcp
from operator_svc.services.byte_budget import ByteBudget


class Progress:
    """Notes when one client last took some of its answers (``taken_at``), and counts the bytes that
    wait here for it in ``budget``.

    ``settled`` says that it has taken all that was sent. Who writes sets it to False after
    ``begin_told`` and until ``end_told``; else the system is asked each time, which takes a call.
    """

    __slots__ = ("_acknowledged", "_budget", "_held", "_told", "_unsent", "settled", "taken_at")

    def __init__(self, budget: ByteBudget) -> None:
        self.taken_at = 0.0
        self.settled = False
        self._told = False
        self._budget = budget
        self._unsent = 0  # bytes that waited here for it then
        self._held = 0  # bytes that wait here and are counted in the budget
        self._acknowledged = 0  # bytes that its machine had taken by then

    def begin_told(self) -> None:
        """From now on ``settled`` is set to False by who writes."""
        self.settled, self._told = False, True

    def end_told(self) -> None:
        """Others write again."""
        self._told = False

    def pause(self, transport: asyncio.Transport, now: float) -> None:
        """Note that the transport takes no more."""
        self.taken_at = now
        _, self._acknowledged = tcp.progress(transport)
        self._hold(transport.get_write_buffer_size())

    def resume(self) -> None:
        """Note that the transport takes more again, or is gone."""
        self._hold(0)

    def _hold(self, size: int) -> None:
        self._budget.add(size - self._held)
        self._held = size

    def is_behind(self, transport: asyncio.Transport, now: float) -> bool:
        """True while answers wait for the client; notes when it took some."""
        if self.settled and self._told:
            return False
        unsent = transport.get_write_buffer_size()
        held, acknowledged = tcp.progress(transport)
        if not unsent and not held:
            self.taken_at = now
            self.settled = True
            return False
        if unsent < self._unsent or acknowledged > self._acknowledged:
            self.taken_at = now
        self._unsent, self._acknowledged = unsent, acknowledged
        return True


class WatchedProtocol(BaseProtocol):
    """A protocol that notes the progress of its client."""

    __slots__ = ()

    progress: Progress

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.transport is not None:
            self.progress.pause(self.transport, self._loop.time())

    def resume_writing(self) -> None:
        super().resume_writing()
        self.progress.resume()

    async def _drain_helper(self) -> None:
        try:
            await super()._drain_helper()
        except ConnectionError as error:
            drop_frames(error)  # one of them holds the future that holds the error
            raise
