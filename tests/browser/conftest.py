"""One browser service that answers as a test says, and pods that share a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.services.browser import runner, worker
from tests.browser.task_pods import FakeBrowser, MakePod, Pod


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter pauses of workers."""
    monkeypatch.setattr(worker, "WATCH_INTERVAL", 0.05)
    monkeypatch.setattr(runner, "PROBE_INTERVAL", 0.01)
    monkeypatch.setattr(worker, "POLL_INTERVAL", 0.05)
    monkeypatch.setattr(worker, "IDLE_INTERVAL", 0.1)
    monkeypatch.setattr(runner, "BUSY_MIN", 0.01)


@pytest.fixture
def browser() -> FakeBrowser:
    return FakeBrowser()


@pytest.fixture
async def make_pod(database: Database, browser: FakeBrowser) -> AsyncIterator[MakePod]:
    """Starts pods on one database, and one browser service for all of them."""
    async with AsyncExitStack() as stack:

        async def make(name: str = "pod-1", **given: Any) -> Pod:
            pod = Pod(database, browser, name, **given)
            stack.push_async_callback(pod.aclose)
            return await pod.open()

        yield make


@pytest.fixture
async def pod(make_pod: MakePod) -> Pod:
    return await make_pod()
