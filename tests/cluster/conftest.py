"""A cluster: three processes of the service, one PostgreSQL, and a Switch in this process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from operator_svc import devpeers
from operator_svc.db.migrations import migrate
from tests.cluster.processes import TOKEN, Pod, environment


class Cluster:
    """Pods, their peers, and a client session that carries the token."""

    def __init__(self, server: Any, url: str, peers: devpeers.DevPeers) -> None:
        self.server = server
        self.url = url
        self.peers = peers
        self.pods: list[Pod] = []
        self.http = aiohttp.ClientSession(
            headers={"X-VX11-Token": TOKEN}, connector=aiohttp.TCPConnector(limit=0)
        )

    async def add(self, **given: str) -> Pod:
        """Start one more pod."""
        pod = Pod(
            environment(
                self.url,
                self.peers,
                OPERATOR_LOG_SAMPLE="0",
                OPERATOR_DRAIN_TIMEOUT="10",
                OPERATOR_HEARTBEAT="2",
                OPERATOR_SWITCH_IDLE_TIMEOUT="10",
            )
            | given
        )
        await pod.start()
        self.pods.append(pod)
        return pod

    async def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement in the database, beside the pods; its rows."""
        name = self.url.partition("@/")[2].partition("?")[0]
        rows: list[tuple[Any, ...]] = await asyncio.to_thread(self.server.execute, sql, name)
        return rows

    async def metric(self, pod: Pod, name: str) -> float:
        """The sum of a metric of a pod over all its labels."""
        async with self.http.get(f"{pod.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        values = [
            line.rpartition(" ")[2] for line in lines if line.startswith((f"{name} ", f"{name}{{"))
        ]
        return sum(float(value) for value in values)

    async def aclose(self) -> None:
        """End everything."""
        await asyncio.gather(*(pod.end(signal.SIGKILL) for pod in self.pods))
        await self.http.close()


@pytest.fixture
async def empty_cluster(own_postgres_server: Any) -> AsyncIterator[Cluster]:
    """A cluster without a pod yet, for a test that starts them as it wants them."""
    name = own_postgres_server.create_database()
    url = own_postgres_server.url(name)
    await asyncio.to_thread(migrate, url)
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(await devpeers.start(TOKEN))
        made = Cluster(own_postgres_server, url, peers)
        stack.push_async_callback(made.aclose)
        yield made


@pytest.fixture
async def cluster(empty_cluster: Cluster) -> Cluster:
    """A cluster of three pods, for a test that may break it."""
    await asyncio.gather(*(empty_cluster.add() for _ in range(3)))
    return empty_cluster
