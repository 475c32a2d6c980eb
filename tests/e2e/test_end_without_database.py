"""The end of a process whose database is away."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest

from operator_svc import devpeers
from tests.cluster.processes import TOKEN, Pod, environment
from tests.e2e.long_reply import begin_long_reply
from tests.fakes.eventually import eventually
from tests.fakes.postgres import PostgresServer

AT_ONCE = 30.0
"""Seconds that the end may take on a busy machine; without an end it would go on for ever."""
LIMITS = {
    "OPERATOR_DRAIN_TIMEOUT": "0.5",
    "OPERATOR_DB_TIMEOUT": "2",
    "OPERATOR_LEASE_TTL": "3",
}


def fill_disk(pod: Pod) -> Callable[[], None]:
    """Let the process write no file beyond 1 KiB; its log is a pipe."""
    _, hard = resource.prlimit(pod.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pod.pid, resource.RLIMIT_FSIZE, (1024, hard))
    return lambda: None  # the next process has no such limit


def stop_server(server: PostgresServer) -> Callable[[], None]:
    server.stop(signal.SIGQUIT)
    return server.start


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_a_process_ends_though_its_database_takes_no_end_of_a_reply(
    engine: str, request: pytest.FixtureRequest
) -> None:
    async with (
        AsyncExitStack() as stack,
        await devpeers.start(TOKEN) as peers,
        aiohttp.ClientSession(headers={"X-VX11-Token": TOKEN}) as http,
    ):
        if engine == "sqlite":
            pod = Pod(environment(request.getfixturevalue("sqlite_url"), peers, **LIMITS))
        else:
            server = request.getfixturevalue("own_postgres_server")
            pod = Pod(environment(server.url(), peers, **LIMITS))
        stack.push_async_callback(pod.end, signal.SIGKILL)
        await pod.start()
        await begin_long_reply(http, pod)
        bring_back = fill_disk(pod) if engine == "sqlite" else stop_server(server)
        begun = time.monotonic()
        assert await pod.end() == 0, pod.log[-20:]
        assert time.monotonic() - begun < AT_ONCE
        assert "replies not stored at shutdown" in {entry["event"] for entry in pod.faults()}
        bring_back()
        await pod.start()

        async def statuses() -> list[str]:
            async with http.get(f"{pod.url}/operator/session/s") as answer:
                messages = (await answer.json())["messages"]
            found = [message["status"] for message in messages]
            return found if "streaming" not in found else []

        assert await eventually(statuses) == ["complete", "interrupted"]
        assert await pod.end() == 0
