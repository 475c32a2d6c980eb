"""The live clients of this process: limits, heartbeat and draining."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from types import TracebackType
from typing import Protocol

import structlog
from prometheus_client import Gauge

from operator_svc import telemetry
from operator_svc.background import TaskOwner, in_turns
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller
from operator_svc.protocol.frames import CloseCode
from operator_svc.services.auth import Tokens
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

SLOTS = 25
"""Parts of a heartbeat: each client has its own in the part in which it came, so that they never
come all at once."""
RECONNECT_MIN_MS, RECONNECT_MAX_MS = 250, 5000
"""Within what time the clients of a process that stops come back, spread at random."""
DRAIN_INTERVAL = 0.05
"""Seconds between two checks of which replies have ended."""
LAST_WORDS = 1.0
"""Seconds that the end of a reply, interrupted at the deadline, has to be stored and shown."""
ANONYMOUS_SHARE, ANONYMOUS_LEAST = 10, 8
"""Part of the places, and number at least, for those that have not authenticated yet."""
CLOSE_GRACE = 2.0
"""Seconds that a client has to answer a close, before its connection is cut."""
RETRY = 5.0
"""Seconds after which one may come back who found too many streams."""


@cache
def _gauge(transport_name: str) -> Gauge:
    return telemetry.SOCKETS.labels(transport_name)


class LiveClient(Protocol):
    """A websocket or an event stream."""

    @property
    def transport_name(self) -> str:
        """``websocket`` or ``event_stream``."""

    @property
    def must_poll(self) -> bool:
        """True where it does not learn by itself that its client left."""

    def poll_closed(self) -> None:
        """Find out if the client left. Called ``SLOTS`` times a heartbeat where ``must_poll``."""

    def heartbeat(self) -> None:
        """Send a heartbeat, and check the client's. Called once every heartbeat."""

    @property
    def caller(self) -> Caller | None:
        """Whose client it is; None until it has authenticated."""

    def has_local_reply(self) -> bool:
        """True while it is shown a reply of this process."""

    def send_draining(self, reconnect_in_ms: int) -> None:
        """Tell the client that this process is about to stop."""

    def close(self, code: CloseCode) -> None:
        """End the connection once what waits for the client is sent; twice is like once."""


class ClientRegistry:
    """Registers each live client from its connection to its end."""

    def __init__(self, tasks: TaskOwner, settings: Settings) -> None:
        self._tasks = tasks
        self._heartbeat = settings.heartbeat
        self._most = settings.sockets
        self._most_per_session = settings.sockets_per_session
        self._slot_of: dict[LiveClient, int] = {}
        self._slots: list[set[LiveClient]] = [set() for _ in range(SLOTS)]
        self._places: set[LiveClient] = set()
        self._anonymous: dict[LiveClient, None] = {}
        self._hand = 0
        self._polled: set[LiveClient] = set()
        self._of_session: dict[str, int] = {}
        self._session_of: dict[LiveClient, str] = {}
        self._calls: dict[asyncio.Timeout, Caller] = {}
        self._heartbeat_task: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._slot_of)

    def __iter__(self) -> Iterator[LiveClient]:
        return iter(list(self._slot_of))

    def enter(self, client: LiveClient, *, anonymous: bool = False) -> None:
        """Register a connected client; its heartbeat begins.

        Those that have not authenticated share a small pool, from which the oldest one goes.
        """
        if anonymous:
            if len(self._anonymous) >= max(ANONYMOUS_LEAST, self._most // ANONYMOUS_SHARE):
                oldest = next(iter(self._anonymous))
                del self._anonymous[oldest]
                oldest.close(CloseCode.FULL)
            self._anonymous[client] = None
        if self._heartbeat_task is None:
            self._heartbeat_task = self._tasks.start(self._run_heartbeat(), "heartbeat")
        self._slot_of[client] = self._hand
        self._slots[self._hand].add(client)
        self._empty.clear()
        if client.must_poll:
            self._polled.add(client)
        _gauge(client.transport_name).inc()

    def admit(self, client: LiveClient) -> bool:
        """Give a client that has authenticated a place; False where all are taken."""
        self._anonymous.pop(client, None)
        if len(self._places) >= self._most:
            return False
        self._places.add(client)
        return True

    def streaming(self, client: LiveClient, *, promised: bool = False) -> _Streaming:
        """The context of an event stream. One that was ``promised``, since its chat is stored, is
        sent in any case. Raises OperatorError(rate_limited) where all places are taken."""
        return _Streaming(self, client, promised=promised)

    def calling(self, caller: Caller, tokens: Tokens) -> _Calling:
        """The context of a call that may take long and is no live client. Raises
        OperatorError(forbidden) in it once the caller's token was taken away or changed."""
        tokens.check_current(caller)  # it may have been taken away before
        return _Calling(self._calls, caller)

    def close_revoked(self, tokens: Tokens) -> None:
        """End the clients and the calls whose tokens were taken away or changed."""
        revoked = [
            client
            for client in self._slot_of
            if client.caller is not None and not tokens.is_current(client.caller)
        ]
        if revoked:
            self._tasks.start(self._close(revoked, CloseCode.FORBIDDEN), "revoked")
        now = asyncio.get_running_loop().time()
        for limit, caller in list(self._calls.items()):
            if not tokens.is_current(caller):
                limit.reschedule(now)

    def join(self, client: LiveClient, session_id: str) -> bool:
        """Count the client for its session; False where that has as many as it may."""
        count = self._of_session.get(session_id, 0)
        if count >= self._most_per_session:
            return False
        self._of_session[session_id] = count + 1
        self._session_of[client] = session_id
        return True

    def leave(self, client: LiveClient) -> None:
        """Remove a client whose connection has ended."""
        self._slots[self._slot_of.pop(client)].discard(client)
        self._polled.discard(client)
        self._anonymous.pop(client, None)
        self._places.discard(client)
        if not self._slot_of:
            self._empty.set()
        _gauge(client.transport_name).dec()
        session_id = self._session_of.pop(client, None)
        if session_id is not None:
            self._of_session[session_id] -= 1
            if not self._of_session[session_id]:
                del self._of_session[session_id]

    async def drain(self, within: float) -> None:
        """Send all clients away: those that watch a reply of this process when that has ended,
        at the latest after ``within`` seconds and a moment for last words; the others at once."""
        async for client in self._in_turns(self):
            client.send_draining(random.randint(RECONNECT_MIN_MS, RECONNECT_MAX_MS))  # noqa: S311 - no secret
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within + LAST_WORDS
        closed: set[LiveClient] = set()
        while self._slot_of and loop.time() < deadline:
            async for client in self._in_turns(self):
                if client not in closed and not client.has_local_reply():
                    closed.add(client)
                    client.close(CloseCode.DRAINING)
            await asyncio.sleep(DRAIN_INTERVAL)
        await self.close_all(CloseCode.DRAINING)

    async def close_all(self, code: CloseCode) -> None:
        """Close every client with ``code``, and wait until they are gone or cut off."""
        await self._close(self, code)
        try:
            # Twice the grace: what waits is sent first, then the client may answer the close.
            async with asyncio.timeout(2 * CLOSE_GRACE + 1):
                await self._empty.wait()
        except TimeoutError:
            log.warning("clients still connected", clients=len(self._slot_of))

    async def _close(self, clients: Iterable[LiveClient], code: CloseCode) -> None:
        async for client in self._in_turns(clients):
            client.close(code)

    async def _in_turns(self, clients: Iterable[LiveClient]) -> AsyncIterator[LiveClient]:
        """Those of ``clients`` that have not left by their turn."""
        async for client in in_turns(clients):
            if client in self._slot_of:
                yield client

    async def _run_heartbeat(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._heartbeat / SLOTS, loop.time())
            await asyncio.sleep(due - loop.time())
            self._hand = (self._hand + 1) % SLOTS
            for client in list(self._polled):
                client.poll_closed()
            for client in list(self._slots[self._hand]):
                client.heartbeat()


class _Streaming(AbstractContextManager[None]):
    """See ``ClientRegistry.streaming``."""

    __slots__ = ("_client", "_promised", "_registry")

    def __init__(self, registry: ClientRegistry, client: LiveClient, *, promised: bool) -> None:
        self._registry = registry
        self._client = client
        self._promised = promised

    def __enter__(self) -> None:
        self._registry.enter(self._client)
        if not self._registry.admit(self._client) and not self._promised:
            self._registry.leave(self._client)
            raise too_many_streams()

    def __exit__(self, *_: object) -> None:
        self._registry.leave(self._client)


class _Calling:
    """See ``ClientRegistry.calling``. Every chat is one: a generator would cost thrice as much."""

    __slots__ = ("_caller", "_calls", "_limit")

    def __init__(self, calls: dict[asyncio.Timeout, Caller], caller: Caller) -> None:
        self._calls = calls
        self._caller = caller
        self._limit = asyncio.Timeout(None)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._calls[self._limit] = self._caller

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del self._calls[self._limit]
        try:
            await self._limit.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise OperatorError(ErrorCode.FORBIDDEN, "the token is no longer valid") from None


def too_many_streams() -> OperatorError:
    """The failure of an event stream for which there is no place."""
    return OperatorError(
        ErrorCode.RATE_LIMITED, "this process has too many open streams", retry_after=RETRY
    )
