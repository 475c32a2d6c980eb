"""History, export and search on a real standby: used where it is near enough, never felt."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from operator_svc.app import Operator
from operator_svc.db import connect
from operator_svc.db.migrations import migrate
from operator_svc.errors import ConfigurationError
from operator_svc.services.chat.export import export
from operator_svc.settings import Settings
from tests.fakes.eventually import eventually
from tests.fakes.pods import ANYBODY, Pods, chat, say
from tests.fakes.relay import Relay
from tests.fakes.standby import Pair

pytestmark = pytest.mark.one_bus
"""No reader of them is told by a bus when to read."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A primary and its standby; a test leaves them so."""
    made = Pair()
    migrate(made.first.url(made.database))
    yield made
    made.remove()


class Replicated(Pods):
    """Pods on a database of the primary, which read from the standby."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.database = pair.first.create_database(pair.database)
        super().__init__(pair.first.url(self.database))
        pair.second.catch_up()

    async def start(self, **settings: Any) -> Operator:
        read = {"database_read_url": self.pair.second.url(self.database)}
        pod = await super().start(**(read | settings))
        await self.caught_up()
        return pod

    async def caught_up(self) -> None:
        await asyncio.to_thread(self.pair.second.catch_up)

    def replays(self, whether: bool) -> None:
        """Have the standby replay what it receives, or only keep it."""
        self.pair.second.execute(f"SELECT pg_wal_replay_{'resume' if whether else 'pause'}()")


@pytest.fixture
async def replicated(pair: Pair) -> AsyncIterator[Replicated]:
    some = Replicated(pair)
    yield some
    some.replays(True)
    await some.aclose()
    pair.first.drop_database(some.database)


def answered() -> Counter[str]:
    """The reads so far: by the replica, or why by the primary."""
    return Counter(
        {
            sample.labels["reason"] or sample.labels["source"]: int(sample.value)
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if sample.name == "operator_reads_total"
        }
    )


async def texts(pod: Operator) -> list[str]:
    page = await pod.services.history.page(ANYBODY, "s", limit=100, before=None)
    return [message.content for message in page.messages]


async def exported(pod: Operator) -> list[str]:
    session = await pod.services.sessions.get(ANYBODY, "s")
    lines = b"".join([piece async for piece in export(pod.services.history, session)])
    return [row.get("content", "") for row in map(msgspec.json.decode, lines.splitlines())]


async def found(pod: Operator, words: str) -> int:
    page = await pod.services.sessions.page(
        ANYBODY, user_id=None, words=words, limit=10, cursor=None
    )
    return len(page.sessions)


async def test_a_standby_that_is_near_answers_history_export_and_search(
    replicated: Replicated,
) -> None:
    pod = await replicated.start()
    await say(replicated, pod, "a rhinoceros")
    await eventually(lambda: found(pod, "rhino"))
    await replicated.caught_up()
    before = answered()
    assert await texts(pod) == ["hi", "a rhinoceros"]
    assert await exported(pod) == ["", "hi", "a rhinoceros"]
    assert await found(pod, "rhino") == 1
    assert answered() - before == Counter(replica=3)


async def test_a_standby_that_is_behind_is_passed_over(replicated: Replicated) -> None:
    pod, other = await replicated.start(), await replicated.start()
    await say(replicated, pod, "old")
    await replicated.caught_up()
    replicated.replays(False)
    await say(replicated, pod, "new")
    before = answered()
    for one in (pod, other):
        assert await texts(one) == ["hi", "old", "hi", "new"]
        assert (await exported(one))[-1] == "new"
    await eventually(lambda: found(other, "new"))
    assert (answered() - before)["replica"] == 0
    replicated.replays(True)
    await replicated.caught_up()
    before = answered()
    assert await texts(other) == ["hi", "old", "hi", "new"]
    assert answered() - before == Counter(replica=1)


async def test_a_session_made_anew_is_not_read_as_the_old_one(replicated: Replicated) -> None:
    pod = await replicated.start()
    for _ in range(3):
        await say(replicated, pod, "old")
    await replicated.caught_up()
    replicated.replays(False)
    await pod.services.sessions.delete(ANYBODY, "s")
    await say(replicated, pod, "new")
    assert await texts(pod) == ["hi", "new"]


async def test_a_running_reply_is_read_from_the_primary(replicated: Replicated) -> None:
    pod = await replicated.start()
    accepted = await chat(pod, session_id="s")
    replicated.switch.say("begun")
    await eventually(lambda: texts_end(pod, "begun"))
    await replicated.caught_up()
    before = answered()
    assert (await texts(pod))[-1] == "begun"
    assert answered() - before == Counter(running=1)
    replicated.switch.say(None)
    assert await pod.services.replies.wait(accepted) is not None


async def texts_end(pod: Operator, text: str) -> bool:
    return (await texts(pod))[-1] == text


async def test_a_standby_that_is_down_costs_nobody_anything(
    replicated: Replicated, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_svc.db.postgresql_replica.PAUSE_SECONDS", 0.5)
    pod = await replicated.start()
    await say(replicated, pod, "there")
    await replicated.caught_up()
    await texts(pod)
    await asyncio.to_thread(pair.second.stop)
    try:
        before = answered()
        for _ in range(20):
            assert await texts(pod) == ["hi", "there"]
        assert await found(pod, "absent") == 0
        reasons = answered() - before
        assert set(reasons) <= {"down", "paused"}
        assert reasons["down"] <= 3
    finally:
        pair.second.start()  # not in a thread, with which the server would end
    before = answered()

    async def replica_answers() -> bool:
        await texts(pod)
        return bool((answered() - before)["replica"])

    await eventually(replica_answers)


async def test_a_standby_that_does_not_answer_is_waited_for_once(
    replicated: Replicated, pair: Pair
) -> None:
    async with Relay(pair.second.folder) as relay:
        url = replicated.url.replace(str(pair.first.folder), str(relay.folder))
        pod = await replicated.start(database_read_url=url)
        await say(replicated, pod, "there")
        await replicated.caught_up()
        before = answered()
        await texts(pod)
        assert answered() - before == Counter(replica=1)
        relay.freeze()
        before = answered()
        for _ in range(10):
            assert await texts(pod) == ["hi", "there"]
        assert answered() - before == Counter(slow=1, paused=9)
        relay.thaw()


async def test_reads_that_wait_for_a_standby_have_only_its_connections(
    replicated: Replicated,
) -> None:
    pod = await replicated.start(db_pool_size=2)
    await say(replicated, pod, "there")
    await replicated.caught_up()
    before = answered()
    pages = await asyncio.gather(*[texts(pod) for _ in range(20)])
    assert pages == [["hi", "there"]] * 20
    reasons = answered() - before
    assert set(reasons) <= {"replica", "busy"}
    assert reasons["replica"] >= 2


async def test_a_server_that_is_no_standby_is_not_read(replicated: Replicated) -> None:
    """As a standby that was promoted, or a copy that was restored somewhere."""
    pod = await replicated.start(database_read_url=replicated.url)
    await say(replicated, pod, "there")
    before = answered()
    assert await texts(pod) == ["hi", "there"]
    assert await texts(pod) == ["hi", "there"]
    assert answered() - before == Counter(no_standby=1, paused=1)


async def test_a_standby_of_another_history_is_not_read(replicated: Replicated) -> None:
    """It has the session, and as many events, but not from this line of commits."""
    pod = await replicated.start()
    await say(replicated, pod, "there")
    await replicated.caught_up()
    replicated.replays(False)
    async with pod.core.database.transaction() as tx:
        await tx.execute("UPDATE operator_history SET seen_at = 'epoch'")
    await pod.core.database.check_history()
    before = answered()
    assert await texts(pod) == ["hi", "there"]
    assert answered() - before == Counter(history=1)


async def test_no_reader_goes_back_in_time_while_a_session_grows(replicated: Replicated) -> None:
    one, two = await replicated.start(), await replicated.start()
    await say(replicated, one, "first")
    seen = 0

    async def read() -> None:
        nonlocal seen
        while not writing.done():
            for pod in (one, two):
                shown = seen
                seen = max(seen, len(await texts(pod)))
                assert len(await texts(pod)) >= shown

    async def write() -> None:
        for number in range(15):
            await say(replicated, one, str(number))

    before = answered()
    writing = asyncio.create_task(write())
    await asyncio.gather(writing, *[read() for _ in range(3)])
    assert len(await texts(two)) == 32
    assert (answered() - before)["replica"]


@pytest.mark.parametrize(
    ("database", "read"),
    [("sqlite:///x.db", "postgresql:///x"), ("postgresql:///x", "sqlite:///x.db")],
)
async def test_a_standby_of_sqlite_is_refused_at_the_start(database: str, read: str) -> None:
    with pytest.raises(ConfigurationError, match="OPERATOR_DATABASE_READ_URL"):
        await connect(Settings(database_url=database, database_read_url=read))
