"""Sets of chats on PostgreSQL: one statement, which waits for no session and is never repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import psycopg
import pytest

from operator_svc.db import Database, connect
from operator_svc.db.postgresql_sets import Sets
from operator_svc.errors import OperatorError
from operator_svc.models import ReplyStatus
from operator_svc.settings import Settings
from operator_svc.stores.message_rows import Ended, Started
from tests.fakes.eventually import eventually
from tests.stores.conversations import POD, Stores


@pytest.fixture
def stores(postgresql_database: Database) -> Stores:
    return Stores(postgresql_database)


@pytest.fixture
def postgresql_sets(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each set that was given to PostgreSQL."""
    sizes: list[int] = []
    write_set = Sets._write_set

    async def counted(self: Sets, plan: Any, items: Any, taken: Any) -> None:
        sizes.append(len(taken))
        await write_set(self, plan, items, taken)

    monkeypatch.setattr(Sets, "_write_set", counted)
    return sizes


async def begun(stores: Stores, count: int) -> list[Started]:
    """Chats in so many new sessions, ``s0`` and so on."""
    return await asyncio.gather(*(stores.new(f"s{n}") for n in range(count)))


def end(stores: Stores, number: int, started: Started) -> Awaitable[Ended | None]:
    """The end of the reply in a session."""
    return stores.messages.finish(
        session_id=f"s{number}", reply_id=started.reply_id, begun_at=started.ts, pod_id=POD,
        status=ReplyStatus.COMPLETE, content="done", metadata={}, feedback=None,
    )  # fmt: skip


async def test_chats_that_wait_for_postgresql_are_one_statement(
    stores: Stores, postgresql_sets: list[int]
) -> None:
    started = await begun(stores, 20)
    ended = await asyncio.gather(*(end(stores, *one) for one in enumerate(started)))
    assert [one and one.last_seq for one in ended] == [4] * 20
    asked = await asyncio.gather(*(stores.more(f"s{n}") for n in range(20)))
    assert [one and one.last_seq for one in asked] == [6] * 20
    assert all(one and len(one.exchanges or []) == 1 for one in asked)
    assert postgresql_sets == [20, 20]


async def test_chats_that_follow_on_a_set_within_two_turns_are_the_next_one(
    stores: Stores, postgresql_sets: list[int]
) -> None:
    await begun(stores, 20)

    async def twice(number: int) -> None:
        await stores.more(f"s{number}")
        if number % 2:
            await asyncio.sleep(0)
        await stores.more(f"s{number}")

    await asyncio.gather(*(twice(number) for number in range(20)))
    assert postgresql_sets == [20, 20]


async def test_a_session_that_is_locked_holds_no_other_chat_up(
    stores: Stores, postgresql_url: str, postgresql_sets: list[int]
) -> None:
    await begun(stores, 6)
    with psycopg.connect(postgresql_url) as beside:
        beside.execute(
            "UPDATE operator_session SET last_seq = last_seq + 1 WHERE session_id IN ('s0', 's1')"
        )
        held = [asyncio.create_task(stores.more(name)) for name in ("s0", "s1", "s0")]
        others = await asyncio.gather(*(stores.more(f"s{n}") for n in range(2, 6)))
        again = await stores.more("s5")
        assert not any(task.done() for task in held)
        beside.commit()
    assert [one and one.last_seq for one in others] == [5] * 4
    assert again is not None
    assert again.last_seq == 7
    assert sorted(one.last_seq for one in await asyncio.gather(*held) if one) == [6, 6, 8]
    assert max(postgresql_sets) > 1


async def test_ends_whose_connection_is_lost_are_not_written_twice(
    stores: Stores, postgresql_url: str, postgresql_sets: list[int]
) -> None:
    started = await begun(stores, 4)
    with (
        psycopg.connect(postgresql_url) as beside,
        psycopg.connect(postgresql_url, autocommit=True) as looking,
    ):
        beside.execute(
            "SELECT 1 FROM operator_message WHERE id = %s FOR UPDATE", [started[0].reply_id]
        )
        ends = asyncio.gather(
            *(end(stores, *one) for one in enumerate(started)), return_exceptions=True
        )
        waiting = (
            "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        await eventually(lambda: looking.execute(f"SELECT count(*) {waiting}").fetchone() == (1,))
        looking.execute(f"SELECT pg_terminate_backend(pid) {waiting}")
        outcomes = await ends
    assert postgresql_sets == [4]
    assert [isinstance(one, OperatorError) for one in outcomes] == [True] * 4
    assert [len(await stores.log(f"s{n}")) for n in range(4)] == [3] * 4
    ended = await asyncio.gather(*(end(stores, *one) for one in enumerate(started)))
    assert [one and one.last_seq for one in ended] == [4] * 4


async def test_sets_of_two_pods_number_the_same_sessions_without_a_gap(
    stores: Stores, postgresql_url: str
) -> None:
    other = await connect(Settings(database_url=postgresql_url))
    try:
        await begun(stores, 3)
        pods = (stores, Stores(other))
        await asyncio.gather(
            *(pod.more(f"s{n}") for _ in range(6) for n in range(3) for pod in pods)
        )
        for n in range(3):
            log = await stores.log(f"s{n}")
            assert [seq for seq, _ in log] == list(range(1, 3 + 2 * 12 + 1))
    finally:
        await other.aclose()


async def test_a_set_that_is_undone_while_its_database_closes_is_still_written(
    stores: Stores, postgresql_url: str
) -> None:
    await begun(stores, 20)
    closing = await connect(Settings(database_url=postgresql_url))
    pod = Stores(closing)
    asked = [asyncio.create_task(pod.more(f"s{n}")) for n in range(19)]
    refused = asyncio.create_task(pod.more("s19", content="no\0text"))
    await asyncio.sleep(0)
    await closing.aclose()
    assert [one and one.last_seq for one in await asyncio.gather(*asked)] == [5] * 19
    await asyncio.wait([refused])
    assert refused.exception() is not None
