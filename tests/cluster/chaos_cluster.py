"""Three processes of the service on a primary with a standby, each with a clock of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from operator_svc import devpeers
from tests.cluster.clocks import FakeClock
from tests.cluster.conftest import Cluster
from tests.cluster.databases import Databases, Way
from tests.cluster.nats_faults import NatsFaults
from tests.cluster.processes import TOKEN, Pod

PODS = 3


class ChaosCluster(Cluster):
    """A cluster whose processes have their own ways to the databases and to NATS, if they use it,
    and their own clocks."""

    def __init__(
        self,
        databases: Databases,
        nats: NatsFaults | None,
        peers: devpeers.DevPeers,
        folder: Path,
    ) -> None:
        super().__init__(databases, databases.url, peers)
        self.databases = databases
        self.nats = nats
        self.clocks: list[tuple[Pod, FakeClock]] = []
        self._folder = folder

    async def start(self) -> None:
        """Start all processes."""
        await asyncio.gather(*(self._start(str(number)) for number in range(PODS)))

    async def _start(self, name: str) -> None:
        clock = FakeClock(self._folder, name)
        pod = await self.add(
            # libfaketime fails time.sleep(), with which migrations wait for one another.
            OPERATOR_MIGRATE="off",
            **clock.environment,
            **await self.databases.environment(),
            **(await self.nats.environment() if self.nats is not None else {}),
        )
        self.clocks.append((pod, clock))


@asynccontextmanager
async def chaos_cluster(way: Way, folder: Path) -> AsyncIterator[ChaosCluster]:
    """A running cluster."""
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(await devpeers.start(TOKEN))
        made = await asyncio.to_thread(Databases, way)
        databases = await stack.enter_async_context(made)
        nats = await stack.enter_async_context(NatsFaults()) if way == "nats" else None
        cluster = ChaosCluster(databases, nats, peers, folder)
        stack.push_async_callback(cluster.aclose)
        await cluster.start()
        yield cluster
