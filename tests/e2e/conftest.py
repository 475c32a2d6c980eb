"""A process with stand-ins for its peers, and a folder for what commands remember."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from operator_svc import devpeers
from tests.cluster.processes import TOKEN, Pod, environment


@pytest.fixture
async def pod(sqlite_url: str) -> AsyncIterator[Pod]:
    async with await devpeers.start(TOKEN) as peers:
        one = Pod(environment(sqlite_url, peers))
        await one.start()
        try:
            yield one
        finally:
            await one.end()


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
