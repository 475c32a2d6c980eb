"""The views of the system over real clients of its peers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from operator_svc.background import TaskOwner
from operator_svc.errors import OperatorError
from operator_svc.peers.switch import make_switch
from operator_svc.peers.system_peers import make_system_peers
from operator_svc.services.system.cached_views import System
from operator_svc.services.ttl_cache import TtlCache
from operator_svc.settings import Settings
from tests.fakes.bad_peers import everywhere, hung
from tests.fakes.peer_answers import PeerAnswers

SETTINGS = Settings(token="t")
OK = {"status": "ok", "error": None, "detail": None}

Answers = dict[str, dict[str, Any]]


class FakeDatabase:
    """A database as far as the overview asks it: it answers, fails or hangs."""

    def __init__(self) -> None:
        self.error: OperatorError | None = None
        self.hangs = False

    async def ping(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def system(
    settings: Settings = SETTINGS, database: FakeDatabase | None = None
) -> AsyncIterator[System]:
    """The views, with the peers at the addresses of ``settings``."""
    peers, switch = make_system_peers(settings), make_switch(settings)
    async with TaskOwner("tests") as tasks:
        try:
            yield System(peers, switch, database or FakeDatabase(), tasks)
        finally:
            await peers.aclose()
            await switch.aclose()


async def view_of(name: str, settings: Settings = SETTINGS) -> dict[str, Any]:
    """One of the views, as clients are shown it."""
    async with system(settings) as parts:
        cached: TtlCache[Any] = getattr(parts, name)
        told: dict[str, Any] = msgspec.to_builtins((await cached.get()).value)
        return told


def serve(http: PeerAnswers, url: str, answers: Answers) -> None:
    """Answer the paths of a peer, again and again."""
    for path, answer in answers.items():
        http.get(url + path, repeat=True, **answer)


async def assert_given_up_soon(name: str) -> None:
    """A view whose sources hang is there within three seconds, and says so."""
    async with hung() as peer:
        begun = time.monotonic()
        shown = await view_of(name, everywhere(peer.url))
        assert time.monotonic() - begun < 3.0
    assert shown["status"] == "unavailable"
    assert {s["status"] for s in shown["sources"].values()} == {"timeout"}
