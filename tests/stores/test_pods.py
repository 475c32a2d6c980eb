"""Deaths of pods, seen by their database session, on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from operator_svc.db import Database, connect, postgresql_overdue
from operator_svc.db.queries import load, resource_folder
from operator_svc.models import Backend
from operator_svc.settings import Settings
from operator_svc.stores import pods as pods_module
from operator_svc.stores.pods import PodStore
from tests.fakes.eventually import eventually
from tests.fakes.postgres import PostgresServer
from tests.fakes.relay import Relay

SILENCE = 20.0
SETTLED = 0.0
UNTIL_TIMEOUT = 60.0
"""Seconds that a call may take; no test waits for that."""


class Session:
    """A database session such as a pod listens by."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        row = self._connection.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()
        assert row is not None
        self.backend = Backend(*row)

    def end(self) -> None:
        self._connection.close()


@pytest.fixture
def sessions(postgresql_url: str) -> Iterator[list[Session]]:
    opened = [Session(postgresql_url) for _ in range(2)]
    yield opened
    for session in opened:
        session.end()


@pytest.fixture
def pods(postgresql_database: Database) -> PodStore:
    return PodStore(postgresql_database)


async def dead(pods: PodStore, judge: str = "judge", settled: float = SETTLED) -> list[str]:
    return await pods.remove_dead(judge, silence=SILENCE, settled=settled)


async def fall_silent(database: Database) -> None:
    """Have the last renewal of all pods be longer ago than a pod that lives may be silent."""
    async with database.transaction() as tx:
        await tx.execute(
            f"UPDATE operator_pod SET renewed_at = renewed_at - interval '{SILENCE + 1} s'"
        )


async def registered(pods: PodStore, sessions: list[Session], name: str) -> tuple[Session, Session]:
    """The sessions of the judge and of one that it may find dead, by ``name``."""
    mine, theirs = sessions
    await pods.register("judge", 30, mine.backend)
    await pods.register(name, 30, theirs.backend)
    return mine, theirs


async def gone(session: Session, beside: Session) -> None:
    """End a session, and wait until the server has noticed."""
    session.end()
    asked = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"

    def ended() -> bool:
        row: Any = beside._connection.execute(asked, [session.backend.pid]).fetchone()
        return bool(row == (0,))

    await eventually(ended)


async def test_a_silent_pod_whose_session_has_ended_is_dead(
    pods: PodStore, sessions: list[Session], postgresql_database: Database
) -> None:
    mine, theirs = await registered(pods, sessions, "victim")
    await gone(theirs, mine)
    assert await dead(pods) == [], "it has renewed a moment ago"
    await fall_silent(postgresql_database)
    assert await dead(pods) == ["victim"]
    assert await dead(pods) == []
    assert not await pods.renew("victim", 30, theirs.backend), "it is fenced"


async def test_a_silent_pod_whose_session_lives_is_left_to_its_lease(
    pods: PodStore, sessions: list[Session], postgresql_database: Database
) -> None:
    await registered(pods, sessions, "frozen")
    await pods.register("without", 30)
    await fall_silent(postgresql_database)
    assert await dead(pods) == []


async def test_a_pod_that_lost_its_session_and_renews_is_left_alone(
    pods: PodStore, sessions: list[Session], postgresql_database: Database
) -> None:
    mine, theirs = await registered(pods, sessions, "cut")
    await gone(theirs, mine)
    for _ in range(3):
        await fall_silent(postgresql_database)
        assert await pods.renew("cut", 30, theirs.backend)
        assert await dead(pods) == []


async def test_a_session_id_that_was_given_again_is_no_life(
    pods: PodStore, sessions: list[Session], postgresql_database: Database
) -> None:
    mine, theirs = sessions
    began = mine.backend.started_at
    await pods.register("judge", 30, mine.backend)
    await pods.register("earlier", 30, Backend(theirs.backend.pid, began))
    await fall_silent(postgresql_database)
    assert await dead(pods) == ["earlier"]


async def test_only_a_pod_whose_own_session_has_lasted_finds_others_dead(
    pods: PodStore, sessions: list[Session], postgresql_database: Database
) -> None:
    mine, theirs = await registered(pods, sessions, "victim")
    await pods.register("without", 30)
    await gone(theirs, mine)
    await fall_silent(postgresql_database)
    assert await dead(pods, settled=3600) == [], "all sessions are new when a server has restarted"
    assert await dead(pods, "without") == []
    assert await dead(pods, "unknown") == []
    assert await dead(pods) == ["victim"]


@pytest.mark.parametrize(("silence", "read"), [(60.0, False), (0.0, True)])
async def test_the_servers_sessions_are_read_only_where_a_pod_is_silent(
    pods: PodStore, sessions: list[Session], *, silence: float, read: bool
) -> None:
    mine, _ = await registered(pods, sessions, "other")
    (statement,) = load(resource_folder("sql"), "postgresql")["pods_remove_dead"].statements
    mine._connection.execute(f"PREPARE look AS {statement.sql}".encode())
    plan = mine._connection.execute(
        f"EXPLAIN ANALYZE EXECUTE look ('judge', {silence}, {SETTLED})".encode()
    )
    scans = [line for (line,) in plan.fetchall() if "pg_stat_get_activity" in line]
    assert scans
    assert any("never executed" not in line for line in scans) == read


async def test_a_renewal_that_gets_no_answer_is_made_by_another_connection(
    postgres_server: PostgresServer, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_overdue, "OVERDUE_SECONDS", UNTIL_TIMEOUT)
    name = postgresql_url.partition("@/")[2].partition("?")[0]
    async with Relay(postgres_server.folder) as relay:
        url = f"postgresql://postgres@/{name}?host={relay.folder}"
        database = await connect(Settings(database_url=url))
        pods = PodStore(*database.reserve(1, UNTIL_TIMEOUT))
        await pods.register("one", 300)
        relay.lose_answers(lambda _: relay.lost == 0, cut=False)
        async with asyncio.timeout(UNTIL_TIMEOUT / 2):
            assert await pods.renew("one", 300)
            assert relay.lost == 1, "the first connection is mute"
            assert await pods.renew("one", 300), "the one that answered is asked first"
    await database.aclose()


async def test_the_dead_are_heard_of_however_late_the_answer_that_names_them(
    postgres_server: PostgresServer,
    postgresql_database: Database,
    postgresql_url: str,
    sessions: list[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second attempt beside the first would find nobody, and be heard first."""
    monkeypatch.setattr(postgresql_overdue, "OVERDUE_SECONDS", UNTIL_TIMEOUT)
    monkeypatch.setattr(pods_module, "PATIENCE", 0.05)
    name = postgresql_url.partition("@/")[2].partition("?")[0]
    async with Relay(postgres_server.folder) as relay:
        url = f"postgresql://postgres@/{name}?host={relay.folder}"
        late = await connect(Settings(database_url=url, db_timeout=UNTIL_TIMEOUT))
        pods = PodStore(late, postgresql_database)
        mine, theirs = await registered(pods, sessions, "victim")
        pods = PodStore(late, postgresql_database)  # whichever way has registered them
        await gone(theirs, mine)
        await fall_silent(postgresql_database)
        with psycopg.connect(postgresql_url) as holder:
            holder.execute("SELECT pod_id FROM operator_pod WHERE pod_id = 'victim' FOR UPDATE")
            looking = asyncio.create_task(dead(pods))
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            await eventually(lambda: holder.execute(waits).fetchone() != (0,))
            relay.freeze()
        left = "SELECT count(*) FROM operator_pod WHERE pod_id = 'victim'"
        await eventually(lambda: mine._connection.execute(left).fetchone() == (0,))
        await asyncio.sleep(0.3)  # time in which a second attempt would be answered
        assert not looking.done()
        relay.thaw()
        assert await looking == ["victim"]
        await late.aclose()
