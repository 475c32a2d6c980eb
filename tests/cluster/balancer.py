"""A TCP balancer such as Kubernetes' Service: round robin over the pods that are ready."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Sequence

import aiohttp

from tests.cluster.processes import Pod

CHECK_INTERVAL = 0.25
CHECK_TIMEOUT = 1.0
CHUNK = 65536


class Balancer:
    """Listens on one port, and hands each connection to a pod.

    A pod whose ``/health/ready`` is not 200 gets no new connections from the next look on; those
    that it has stay. Where nobody listens, the next pod is tried.
    """

    def __init__(self, pods: Sequence[Pod]) -> None:
        self._pods = pods
        self._up: set[Pod] = set()
        self._turns = itertools.count()
        self._server: asyncio.Server | None = None
        self._checks: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._http = aiohttp.ClientSession()
        self.url = ""
        self.handed: Counter[str] = Counter()
        """Connections by the pod's address."""
        self.refused: Counter[str] = Counter()
        """Attempts at pods where nobody listened."""
        self.taken_out: Counter[str] = Counter()
        """Number of times that a pod was found not ready any more."""

    async def start(self) -> None:
        """Look at all pods once, and listen."""
        await self._look()
        self._checks = asyncio.create_task(self._look_forever())
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def aclose(self) -> None:
        """Stop, and cut all connections."""
        assert self._server is not None
        assert self._checks is not None
        self._server.close()
        tasks = [self._checks, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.close()

    def is_up(self, pod: Pod) -> bool:
        """True where the pod gets new connections."""
        return pod in self._up

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            await self._look()

    async def _look(self) -> None:
        answers = await asyncio.gather(*(self._is_ready(pod) for pod in self._pods))
        for pod, ready in zip(self._pods, answers, strict=True):
            if not ready and pod in self._up:
                self.taken_out[pod.url] += 1
        self._up = {pod for pod, ready in zip(self._pods, answers, strict=True) if ready}

    async def _is_ready(self, pod: Pod) -> bool:
        limit = aiohttp.ClientTimeout(total=CHECK_TIMEOUT)
        try:
            async with self._http.get(f"{pod.url}/health/ready", timeout=limit) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            return False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            pod = await self._reach()
            if pod is not None:
                await _join((reader, writer), pod)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the pod whose turn it is, or to one after it."""
        first = next(self._turns)
        order = [self._pods[(first + n) % len(self._pods)] for n in range(len(self._pods))]
        for pod in [pod for pod in order if pod in self._up]:
            host, port = pod.url.removeprefix("http://").split(":")
            try:
                joined = await asyncio.open_connection(host, int(port))
            except OSError:
                self.refused[pod.url] += 1
                continue
            self.handed[pod.url] += 1
            return joined
        return None


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(client: Ends, pod: Ends) -> None:
    """Carry bytes both ways until both sides are done, or one is gone."""
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_carry(client[0], pod[1]))
            both.create_task(_carry(pod[0], client[1]))
    except* OSError:
        pass  # a reset by one side is passed on to the other
    finally:
        pod[1].transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        await writer.drain()
        writer.write_eof()


class Balanced:
    """The cluster as clients find it: by the balancer's address alone."""

    def __init__(self, balancer: Balancer, http: aiohttp.ClientSession) -> None:
        self.pods = [balancer]
        self.http = http
