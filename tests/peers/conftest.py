"""A stand-in for Switch, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from operator_svc.devpeers import Script, SwitchStandin
from operator_svc.peers.switch import Switch
from tests.fakes.chats import TOKEN, switch_at

DIALECTS = ("vx11", "openai")
FAST = 2000.0

IMPATIENT = {"switch_first_byte_timeout": 0.8, "switch_idle_timeout": 0.8}


@pytest.fixture
async def standin() -> AsyncIterator[SwitchStandin]:
    standin = SwitchStandin(TOKEN, Script(rate=FAST))
    await standin.start()
    yield standin
    await standin.aclose()


@pytest.fixture
async def switch(standin: SwitchStandin) -> AsyncIterator[Switch]:
    async with switch_at(standin.url) as switch:
        yield switch


@pytest.fixture
async def impatient(standin: SwitchStandin) -> AsyncIterator[Switch]:
    async with switch_at(standin.url, **IMPATIENT) as switch:
        yield switch
