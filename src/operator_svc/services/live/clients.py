"""The live clients of this process: how many there may be, their heartbeat, and their farewell."""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

import structlog

from operator_svc import telemetry
from operator_svc.background import TaskOwner
from operator_svc.protocol.frames import CloseCode
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

SLOTS = 25
"""Parts of a heartbeat: clients beat in the part in which they came, so never all at once."""
RECONNECT_MIN_MS, RECONNECT_MAX_MS = 250, 5000
"""Within what time the clients of a process that stops come back, spread at random."""
DRAIN_LOOK = 0.05
"""Seconds between two looks at whether a client's reply has ended."""
LAST_WORDS = 1.0
"""Seconds that the end of a reply, interrupted at the deadline, has to be stored and shown."""
CLOSE_GRACE = 2.0
"""Seconds that a client has to answer a close, before its connection is cut."""


class Client(Protocol):
    """A websocket or an event stream."""

    @property
    def transport_name(self) -> str:
        """``websocket`` or ``event_stream``."""

    @property
    def must_look(self) -> bool:
        """Whether it does not learn by itself that its client left."""

    def look(self) -> None:
        """See whether the client left. Called ``SLOTS`` times a heartbeat where it must."""

    def beat(self) -> None:
        """Show life, and look for the client's. Called once every heartbeat."""

    def busy(self) -> bool:
        """Whether a reply of this process is still being shown to it."""

    def say_draining(self, reconnect_in_ms: int) -> None:
        """Tell it that this process is about to stop."""

    def close(self, code: int) -> None:
        """End the connection once what waits for the client is sent; twice is like once."""


class ClientRegistry:
    """Knows each live client from its connection to its end."""

    def __init__(self, tasks: TaskOwner, settings: Settings) -> None:
        self._tasks = tasks
        self._heartbeat = settings.heartbeat
        self._most = settings.sockets
        self._most_per_session = settings.sockets_per_session
        self._slot_of: dict[Client, int] = {}
        self._slots: list[set[Client]] = [set() for _ in range(SLOTS)]
        self._hand = 0
        self._lookers: set[Client] = set()
        self._of_session: dict[str, int] = {}
        self._session_of: dict[Client, str] = {}
        self._beating: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._slot_of)

    @property
    def full(self) -> bool:
        """Whether the process has as many clients as it may."""
        return len(self._slot_of) >= self._most

    def enter(self, client: Client) -> None:
        """A client is connected; it beats from now on."""
        if self._beating is None:
            self._beating = self._tasks.start(self._beat_forever(), "heartbeat")
        self._slot_of[client] = self._hand
        self._slots[self._hand].add(client)
        self._empty.clear()
        if client.must_look:
            self._lookers.add(client)
        telemetry.SOCKETS.labels(client.transport_name).inc()

    def join(self, client: Client, session_id: str) -> bool:
        """Count the client for its session; False where that has as many as it may."""
        count = self._of_session.get(session_id, 0)
        if count >= self._most_per_session:
            return False
        self._of_session[session_id] = count + 1
        self._session_of[client] = session_id
        return True

    def leave(self, client: Client) -> None:
        """A client's connection has ended."""
        self._slots[self._slot_of.pop(client)].discard(client)
        self._lookers.discard(client)
        if not self._slot_of:
            self._empty.set()
        telemetry.SOCKETS.labels(client.transport_name).dec()
        session_id = self._session_of.pop(client, None)
        if session_id is not None:
            self._of_session[session_id] -= 1
            if not self._of_session[session_id]:
                del self._of_session[session_id]

    async def drain(self, within: float) -> None:
        """Send all clients away: those that watch a reply of this process when that has ended,
        at the latest after ``within`` seconds and a moment for last words; the others at once."""
        for client in list(self._slot_of):
            client.say_draining(random.randint(RECONNECT_MIN_MS, RECONNECT_MAX_MS))  # noqa: S311 - no secret
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within + LAST_WORDS
        while self._slot_of and loop.time() < deadline:
            for client in list(self._slot_of):
                if not client.busy():
                    client.close(CloseCode.DRAINING)
            await asyncio.sleep(DRAIN_LOOK)
        await self.close_all(CloseCode.DRAINING)

    async def close_all(self, code: int) -> None:
        """Close every client with ``code``, and wait until they are gone or cut off."""
        for client in list(self._slot_of):
            client.close(code)
        try:
            # Twice the grace: what waits is sent first, then the client may answer the close.
            async with asyncio.timeout(2 * CLOSE_GRACE + 1):
                await self._empty.wait()
        except TimeoutError:
            log.warning("clients that do not go", clients=len(self._slot_of))

    async def _beat_forever(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._heartbeat / SLOTS, loop.time())
            await asyncio.sleep(due - loop.time())
            self._hand = (self._hand + 1) % SLOTS
            for client in list(self._lookers):
                client.look()
            for client in list(self._slots[self._hand]):
                client.beat()
