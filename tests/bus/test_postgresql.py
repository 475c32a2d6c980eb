"""Notifications by PostgreSQL, and how much they carry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

import pytest

from operator_svc.bus import PostgresqlBus
from operator_svc.settings import Settings
from tests.fakes.eventually import eventually
from tests.fakes.postgres import PostgresServer

pytestmark = pytest.mark.one_bus

LONGEST = 128
"""Characters of the longest id of a session."""


class Pod:
    """A bus, and what it heard; None stands for news in any session."""

    def __init__(self, url: str) -> None:
        self.heard: list[Collection[str] | None] = []
        self.bus = PostgresqlBus(Settings(database_url=url))

    @property
    def sessions(self) -> list[str]:
        return [one for ids in self.heard for one in ids or ("any",)]


@pytest.fixture
async def pods(postgresql_url: str) -> AsyncIterator[tuple[Pod, Pod]]:
    one, two = Pod(postgresql_url), Pod(postgresql_url)
    for pod in (one, two):
        await pod.bus.open(pod.heard.append)
    yield one, two
    for pod in (one, two):
        await pod.bus.aclose()


@pytest.mark.parametrize(("count", "length"), [(1, 1), (239, 32), (240, 32), (1000, LONGEST)])
async def test_news_of_any_number_of_sessions_come_by_their_ids(
    pods: tuple[Pod, Pod], count: int, length: int
) -> None:
    one, two = pods
    ids = [f"{n:0{length}d}" for n in range(count)]
    for session_id in [*ids, *ids]:
        one.bus.notify(session_id)
    await one.bus.flush()
    await eventually(lambda: len(two.sessions) >= count)
    assert sorted(two.sessions) == ids
    assert one.heard == []


async def test_news_are_sent_once(pods: tuple[Pod, Pod]) -> None:
    one, two = pods
    for session_id in ("a", "b"):
        one.bus.notify(session_id)
        await one.bus.flush()
        await one.bus.flush()
    await eventually(lambda: len(two.sessions) == 2)
    assert two.heard == [["a"], ["b"]]


async def test_an_older_pod_that_says_any_is_understood(
    pods: tuple[Pod, Pod], postgres_server: PostgresServer, postgresql_url: str
) -> None:
    name = postgresql_url.partition("@/")[2].partition("?")[0]
    postgres_server.execute("NOTIFY operator_news, 'older *'", name)
    await eventually(lambda: [pod.heard for pod in pods] == [[None], [None]])
