"""A server of NATS, the relays by which each process reaches it, and how they are broken."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from tests.fakes.nats_server import Frame, NatsRelay, NatsServer

LONGEST = 8.0
"""Most seconds of a fault: some are shorter than the pings that find them, some are longer."""

Mend = Callable[[], Awaitable[None]]


class NatsFaults:
    """Breaks NATS. Each act returns at once, and the fault lasts for some seconds beside whatever
    else is broken meanwhile; the next act waits for its end."""

    def __init__(self) -> None:
        self._server = NatsServer()
        self._relays: list[NatsRelay] = []
        self._stack = AsyncExitStack()
        self._fault: asyncio.Task[None] | None = None

    async def __aenter__(self) -> NatsFaults:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.mended()
        await self._stack.aclose()
        await asyncio.to_thread(self._server.remove)

    async def environment(self) -> dict[str, str]:
        """The settings of one more process."""
        relay = await self._stack.enter_async_context(NatsRelay(self._server))
        self._relays.append(relay)
        return {"OPERATOR_BUS_URL": relay.url}

    @property
    def acts(self) -> list[Callable[[], Awaitable[None]]]:
        """All faults."""
        return [
            self.kill_nats, self.restart_nats, self.pause_nats, self.cut_nats,
            self.isolate_from_nats, self.slow_nats, self.garble_nats,
        ]  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Connections that the processes made, and messages that they were sent."""
        return {
            "connections": sum(relay.accepted for relay in self._relays),
            "messages": sum(relay.carried for relay in self._relays),
        }

    async def mended(self) -> None:
        """Wait until nothing is broken any more."""
        if self._fault is not None:
            await self._fault

    def _for_a_while(self, mend: Mend) -> None:
        async def last() -> None:
            await asyncio.sleep(random.uniform(0.1, LONGEST))  # noqa: S311
            await mend()

        self._fault = asyncio.create_task(last())

    async def _start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def kill_nats(self) -> None:
        await self.mended()
        self._server.stop()
        self._for_a_while(self._start)

    async def restart_nats(self) -> None:
        await self.mended()
        self._server.stop(signal.SIGTERM)
        await self._start()

    async def pause_nats(self) -> None:
        await self.mended()
        self._server.pause()
        self._for_a_while(self._resume)

    async def _resume(self) -> None:
        self._server.resume()

    async def cut_nats(self) -> None:
        for relay in self._relays:
            relay.cut()

    async def isolate_from_nats(self) -> None:
        """A process that cannot reach NATS, and is not told so, while the others reach it."""
        await self.mended()
        relay = random.choice(self._relays)  # noqa: S311

        async def thaw() -> None:
            relay.thaw()

        relay.freeze()
        self._for_a_while(thaw)

    async def slow_nats(self) -> None:
        """Messages that come late, and answers to pings that come in time or do not."""
        await self.mended()
        seconds = random.choice((0.2, 0.8, 3.0))  # noqa: S311
        for relay in self._relays:
            relay.delay = seconds
        self._for_a_while(self._carry_well)

    async def garble_nats(self) -> None:
        """Messages that are lost, doubled, or overtaken by others."""
        await self.mended()
        for relay in self._relays:
            relay.change = _Garbler()
        self._for_a_while(self._carry_well)

    async def _carry_well(self) -> None:
        for relay in self._relays:
            relay.delay = 0.0
            relay.change = lambda frame: (frame,)


class _Garbler:
    """Loses, doubles and keeps back a part of the messages of a process."""

    def __init__(self) -> None:
        self._kept: list[Frame] = []

    def __call__(self, frame: Frame) -> list[Frame]:
        what = random.choice(("as it is", "lost", "doubled", "kept", "late"))  # noqa: S311
        if what == "lost":
            return []
        if what == "doubled":
            return [frame, frame]
        if what == "kept":
            self._kept.append(frame)
            return []
        if what == "late":
            late, self._kept = self._kept, []
            return [frame, *reversed(late)]
        return [frame]
