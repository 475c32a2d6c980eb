"""Answers that clients do not read: how much memory they take, and who is refused then."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from operator_svc.db import AsJson
from tests.fakes.eventually import eventually
from tests.rest.conftest import Start
from tests.rest.raw_client import Unread
from tests.rest.rest_service import TOKEN, Service

PATHS = (
    "/operator/session/s?limit=1000",
    "/operator/session/s/events?limit=1000",
    "/operator/session/s/export",
)


async def fill(service: Service, count: int) -> None:
    """A session with messages and events of a megabyte each."""
    await service.chat("hi", session_id="s")
    text = "'{\"m\":\"' || hex(zeroblob(500000)) || '\"}'"
    numbers = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    async with service.operator.core.database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_message (session_id, role, content, status, metadata, created_at)"
            f" {numbers} SELECT 's', 'user', 'x', 'complete', {text},"
            " '2026-01-01T00:00:00.000000Z' FROM n"
        )
        await tx.execute(
            f"INSERT INTO operator_event (session_id, seq, event, ts, data) {numbers}"
            f" SELECT 's', 100 + i, 'browser_task.queued', '2026-01-01T00:00:00.000000Z', {text}"
            " FROM n"
        )


class Readers:
    """Clients that ask and read nothing."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._clients: list[Unread] = []

    @property
    def held(self) -> int:
        """Bytes that wait for them."""
        return self._service.operator.services.byte_budget.held

    def ask(self, path: str) -> None:
        client = Unread(self._service)
        self._clients.append(client)
        client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-VX11-Token: {TOKEN}\r\n\r\n".encode())

    async def leave(self) -> None:
        for client in self._clients:
            client.close()
        await eventually(lambda: self.held == 0)


@asynccontextmanager
async def readers(service: Service) -> AsyncIterator[Readers]:
    found = Readers(service)
    try:
        yield found
    finally:
        await found.leave()


def memory() -> float:
    """Resident memory of this process, in MiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


async def test_large_answers_that_nobody_reads_take_little_memory(start: Start) -> None:
    service = await start()
    await fill(service, 40)
    before = memory()
    async with readers(service) as unread:
        for path in PATHS * 4:
            unread.ask(path)
        await eventually(lambda: unread.held > 8 * 3_000_000, within=20)
        assert memory() - before < 300
    assert (await service.get("/metrics")).status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_large_requests_beyond_the_budget_are_429_and_others_are_answered(
    start: Start, path: str
) -> None:
    service = await start(bytes_in_flight=5_000_000)
    await fill(service, 6)

    async def is_refused(unread: Readers) -> bool:
        unread.ask(PATHS[2])
        response = await service.get(path)
        if response.status != 429:
            return False
        assert (await response.json())["error"] == "rate_limited"
        assert int(response.headers["Retry-After"]) >= 1
        return True

    async with readers(service) as unread:
        unread.ask(PATHS[0])
        await eventually(lambda: unread.held > 3_000_000)
        await eventually(lambda: is_refused(unread))
        assert unread.held < 10_000_000
        for small in ("/health/live", "/health/ready", "/operator/reply/2"):
            assert (await service.get(small)).status == 200
        answer = await service.chat("go on", session_id="s")
        assert answer["metadata"]["status"] == "ok"
        asked = {"input": "a stream that cannot be had again", "stream": True}
        streamed = await (await service.post("/v1/responses", asked)).text()
        assert "event: response.completed" in streamed
    assert (await service.get(path)).status == 200


async def test_streams_of_large_responses_beyond_the_budget_end_with_that_error(
    start: Start,
) -> None:
    service = await start(bytes_in_flight=5_000_000)
    await service.chat("hi", session_id="s")
    async with service.operator.core.database.transaction() as tx:
        await tx.executemany(
            "INSERT INTO operator_tool_call (message_id, tool_name, status, arguments, created_at)"
            " VALUES (2, 't', 'ok', :large, '2026-01-01T00:00:00.000000Z')",
            [{"large": AsJson("x" * 250_000)}] * 14,
        )
    path = "/v1/responses/resp_2?stream=true"

    async with readers(service) as unread:
        unread.ask(path)
        await eventually(lambda: unread.held > 3_500_000)
        refused = await (await service.get(path)).text()
        assert "event: response.completed" not in refused
        assert '"code":"rate_limit_exceeded"' in refused.rstrip().splitlines()[-1]
    assert "event: response.completed" in await (await service.get(path)).text()
