"""Stand-ins that run, and a client of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from operator_svc import devpeers
from operator_svc.devpeers import DevPeers, Script
from tests.fakes.chats import TOKEN


@pytest.fixture
async def peers() -> AsyncIterator[DevPeers]:
    async with await devpeers.start(TOKEN, script=Script(rate=2000)) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"X-VX11-Token": TOKEN}) as session:
        yield session
