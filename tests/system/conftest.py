"""Pods with a Switch that takes feedback and can be tuned."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from operator_svc.db import Database
from tests.fakes.records import Pod, TunedSwitch, pods


@pytest.fixture
def switch() -> TunedSwitch:
    return TunedSwitch()


@pytest.fixture
async def pod(database: Database, switch: TunedSwitch) -> AsyncIterator[Pod]:
    async with pods(database, switch) as (one,):
        yield one


@pytest.fixture
async def local(sqlite_database: Database, switch: TunedSwitch) -> AsyncIterator[Pod]:
    """A pod on SQLite, for what does not depend on the engine."""
    async with pods(sqlite_database, switch) as (one,):
        yield one
