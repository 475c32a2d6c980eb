"""Overview, dashboard and resources over HTTP: how old, how often asked, and how quick."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from operator_svc.devpeers import DevPeers
from operator_svc.devpeers import start as start_peers
from operator_svc.services.ttl_cache import CacheHit
from tests.fakes.bad_peers import URLS, hung
from tests.rest.rest_service import TOKEN, Service, running

PATHS = ("/operator/vx11/overview", "/operator/shub/dashboard", "/operator/resources")


@pytest.fixture
async def peers() -> AsyncIterator[DevPeers]:
    async with await start_peers(TOKEN) as started:
        yield started


@pytest.fixture
async def served(sqlite_url: str, peers: DevPeers) -> AsyncIterator[Service]:
    """A service with all stand-ins."""
    async with running(
        sqlite_url, switch_url=peers.switch.url, hermes_url=peers.hermes.url,
        shub_url=peers.shub.url, tentaculo_link_url=peers.tentaculo_link.url,
    ) as service:  # fmt: skip
        yield service


@pytest.mark.parametrize("path", PATHS)
async def test_an_answer_about_the_system_says_its_age(
    served: Service, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await served.get(path, token=None)).status == 401
    first = await served.get(path)
    assert first.status == 200
    assert first.headers["Cache-Control"] == "private, max-age=2"
    assert first.headers["Age"] == "0"
    assert first.content_type == "application/json"
    name = path.rpartition("/")[2]
    cached = getattr(served.operator.services.system, name)
    kept = (await cached.get()).value

    async def older() -> CacheHit[Any]:
        return CacheHit(kept, 1.9)

    monkeypatch.setattr(cached, "get", older)
    assert (await served.get(path)).headers["Age"] == "1", "whole seconds that have passed"


@pytest.mark.measures_time
async def test_sources_are_asked_once_in_two_seconds(served: Service, peers: DevPeers) -> None:
    begun = time.monotonic()
    seconds = 0.0
    while seconds < 3.0:
        answers = await asyncio.gather(*[served.get(PATHS[0]) for _ in range(20)])
        assert {answer.status for answer in answers} == {200}
        seconds = time.monotonic() - begun
    rounds = peers.tentaculo_link.counts["/vx11/status"]
    assert 2 <= rounds <= 1 + seconds / 2.0


async def test_an_overview_has_all_modules(served: Service) -> None:
    shown = await (await served.get(PATHS[0])).json()
    assert list(shown) == ["status", "healthy_modules", "total_modules", "modules", "source"]
    assert list(shown["modules"]) == [
        "tentaculo_link", "madre", "switch", "hermes", "hormiguero", "manifestator", "mcp",
        "shub", "spawner", "operator",
    ]  # fmt: skip
    assert shown["status"] == "degraded", "only four of the stand-ins are there"
    assert (shown["healthy_modules"], shown["total_modules"]) == (5, 10)
    assert shown["modules"]["operator"]["status"] == "ok"


@pytest.mark.measures_time
async def test_health_is_quick_while_all_peers_hang(sqlite_url: str) -> None:
    async with hung() as peer:
        places: dict[str, Any] = dict.fromkeys(URLS, peer.url)
        async with running(sqlite_url, **places) as service:
            begun = time.monotonic()
            asked = [asyncio.ensure_future(service.get(path)) for path in PATHS]
            await asyncio.sleep(0.1)  # all of them wait for the peers
            looked = time.monotonic()
            assert (await service.get("/health")).status == 200
            assert time.monotonic() - looked < 1.0
            answers = await asyncio.gather(*asked)
            took = time.monotonic() - begun
    assert took < 3.0
    assert [answer.status for answer in answers] == [200, 200, 200]
    bodies = [await answer.json() for answer in answers]
    assert [body["status"] for body in bodies] == ["down", "unavailable", "unavailable"]


@pytest.mark.measures_time
async def test_a_cached_answer_is_quick(served: Service) -> None:
    """1,000 a second on one core are asked for. A whole round of HTTP in this very
    process, client and server, is measured against one that answers nothing but health."""
    await served.get(PATHS[0])

    async def best(path: str) -> float:
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            for _ in range(40):
                await served.get(path)
            times.append((time.perf_counter() - begun) / 40)
        return min(times)

    assert await best(PATHS[0]) < max(0.001, 2.5 * await best("/health"))
