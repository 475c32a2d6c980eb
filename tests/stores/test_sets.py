"""Chats that are stored together: rows and answers are those of chats stored one by one."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import uuid
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from operator_svc.db import ConstraintViolation, Database
from operator_svc.db.query_sets import LARGEST
from operator_svc.db.sqlite_plans import SqlitePlan
from operator_svc.errors import OperatorError
from operator_svc.models import ReplyChunk, ReplyStatus
from operator_svc.protocol.intents import Renewal
from operator_svc.stores.chat_keys import KeyTakenError
from operator_svc.stores.message_rows import Ended, Feedback, Key, Started, TokenUsage
from tests.db.things import file_of
from tests.stores.conversations import POD, Stores

Write = Callable[[], Awaitable[Any]]

ROWS = (
    "SELECT s.session_id, s.user_id, s.source, s.last_seq, s.message_count"
    " FROM operator_session AS s WHERE s.session_id LIKE :those ORDER BY 1",
    "SELECT m.session_id, m.role, m.content, m.status, m.owner, CAST(m.metadata AS text),"
    " m.finished_at IS NULL, q.session_id, q.role, q.content FROM operator_message AS m"
    " LEFT JOIN operator_message AS q ON q.id = m.reply_to"
    " WHERE m.session_id LIKE :those ORDER BY m.session_id, m.id",
    "SELECT e.session_id, e.seq, e.event, CAST(e.data AS text), m.session_id, m.role, m.content"
    " FROM operator_event AS e LEFT JOIN operator_message AS m ON m.id = e.message_id"
    " WHERE e.session_id LIKE :those ORDER BY 1, 2",
    "SELECT k.session_id, k.scope, k.key, k.body_hash, k.repeated, q.session_id, q.role,"
    " r.session_id, r.role, r.reply_to = q.id FROM operator_chat_key AS k"
    " JOIN operator_message AS q ON q.id = k.message_id"
    " JOIN operator_message AS r ON r.id = k.reply_id"
    " WHERE k.session_id LIKE :those ORDER BY k.scope, k.key",
    "SELECT f.session_id, m.session_id, m.role, f.engine, f.success, f.latency_ms, f.tokens_used,"
    " f.error_message, f.given_up_at IS NULL FROM operator_switch_feedback AS f"
    " JOIN operator_message AS m ON m.id = f.message_id WHERE f.session_id LIKE :those ORDER BY 1",
    "SELECT token, user_id, model, prompt_tokens, completion_tokens, total_tokens"
    " FROM operator_usage_change WHERE token LIKE :those",
    "SELECT m.session_id, c.content FROM operator_reply_chunk AS c"
    " JOIN operator_message AS m ON m.id = c.reply_id WHERE m.session_id LIKE :those ORDER BY 1",
)
"""The rows that a chat writes, without times and ids, and whom they are about."""


class Scripts:
    """Chats at random, which come out the same for the same seed; names begin with ``prefix``."""

    def __init__(self, stores: Stores, prefix: str, seed: int) -> None:
        self._stores = stores
        self._prefix = prefix
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._count = 0

    async def writes(self, count: int) -> list[Write]:
        """So many writes, each of a session of its own, which is there in all ways."""
        return [await self._one() for _ in range(count)]

    async def _one(self) -> Write:
        choose = self._random.choice
        self._count += 1
        session_id = f"{self._prefix}-{self._count}"
        state = choose(["none", "there", "there", "there", "answered", "deleted"])
        begun = None
        if state != "none":
            begun = await self._stores.new(session_id, user=choose(["ana", "ana", "eve"]))
        if begun is not None and choose([True, False]):
            await self._stores.append(POD, [ReplyChunk(begun.reply_id, 0, "some of it")])
        if begun is not None and state == "answered":
            await self._stores.finish(session_id, begun.reply_id)
        if state == "deleted":
            await self._stores.sessions.delete(session_id, None)
        kind = choose(["new", "more", "more", "finish", "finish"])
        if kind == "finish":
            return self._finish(session_id, begun)
        return self._start(kind, session_id, await self._key())

    async def _key(self) -> Key | None:
        choose = self._random.choice
        renewal = choose([None, Renewal(choose([True, False]), choose([0.0, 600.0]))])
        key = Key(f"{self._prefix}-u", str(self._count), bytes([self._count % 256]) * 32, renewal)
        known = choose(["no key", "no key", "new", "taken"])
        if known == "taken":
            await self._stores.new(f"{self._prefix}-{key.key}-before", key=key)
        return None if known == "no key" else key

    def _start(self, kind: str, session_id: str, key: Key | None) -> Write:
        content = "é'\"{}\\ \n" * self._random.randrange(3) + str(self._count)
        if kind == "new":
            return lambda: self._stores.messages.start_new(
                session_id=session_id, epoch=str(uuid.uuid4()), user_id="ana", source="api",
                content=content, metadata=None, pod_id=POD, key=key,
            )  # fmt: skip
        viewer = self._random.choice([None, "ana"])
        return lambda: self._stores.more(session_id, viewer=viewer, key=key, content=content)

    def _finish(self, session_id: str, begun: Started | None) -> Write:
        choose = self._random.choice
        if begun is None:
            begun = Started(1, 2**40, 1, "", None, datetime.now(UTC))
        feedback = choose(
            [None, Feedback("gpt", choose([True, False]), 12, 40, choose([None, "x"]))]
        )
        usage = choose([None, TokenUsage(f"{self._prefix}-t", "ana", "gpt", 2, 3, 5)])
        pod, status = choose([POD, POD, "other"]), choose(list(ReplyStatus)[1:])
        reply, chunked, content = begun, choose([True, False]), "fin 漢" * choose([0, 1, 2000])
        return lambda: self._stores.messages.finish(
            session_id=session_id, reply_id=reply.reply_id, begun_at=reply.ts, pod_id=pod,
            status=status, content=content, metadata={"n": [1.5, None]}, feedback=feedback,
            usage=usage, chunked=chunked,
        )  # fmt: skip


async def rows_of(database: Database, prefix: str) -> list[list[str]]:
    """The rows of a script, without its name."""
    async with database.transaction() as tx:
        found = [await tx.fetch(sql, those=f"{prefix}-%") for sql in ROWS]
    return [[repr(row).replace(f"{prefix}-", "") for row in rows] for rows in found]


async def outcome(write: Write) -> str:
    """The answer to a caller, without times and ids."""
    try:
        answer = await write()
    except (KeyTakenError, OperatorError) as error:
        return repr(error)
    if isinstance(answer, Started):
        return f"started {answer.last_seq} {answer.exchanges}"
    return f"ended {answer.last_seq}" if isinstance(answer, Ended) else repr(answer)


@pytest.mark.parametrize("seed", range(3))
async def test_chats_stored_together_are_as_those_stored_one_by_one(
    stores: Stores, seed: int
) -> None:
    alone = [await outcome(write) for write in await Scripts(stores, "one", seed).writes(16)]
    together = await asyncio.gather(*map(outcome, await Scripts(stores, "all", seed).writes(16)))
    assert [told.replace("all-", "one-") for told in together] == alone
    expected, found = await rows_of(stores.database, "one"), await rows_of(stores.database, "all")
    assert found == expected
    assert sum(map(len, found)) > 50


async def test_an_end_that_the_database_refuses_fails_alone(stores: Stores) -> None:
    started = [await stores.new(f"s{n}") for n in range(4)]
    ends = await asyncio.gather(
        *(
            stores.messages.finish(
                session_id=f"s{n}", reply_id=one.reply_id, begun_at=one.ts, pod_id=POD,
                status=ReplyStatus.COMPLETE, content="", metadata={},
                feedback=Feedback("gpt", True, -1 if n == 2 else 1, 1, None),
            )
            for n, one in enumerate(started)
        ),
        return_exceptions=True,
    )  # fmt: skip
    assert [isinstance(one, Ended) for one in ends] == [True, True, False, True]
    assert isinstance(ends[2], ConstraintViolation)
    assert [len(await stores.log(f"s{n}")) for n in range(4)] == [4, 4, 3, 4]


@pytest.fixture
def sqlite_stores(sqlite_database: Database) -> Stores:
    return Stores(sqlite_database)


@pytest.fixture
def sets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The name and the size of each set that SQLite has run."""
    run: list[tuple[str, int]] = []
    run_set = SqlitePlan.run_set

    def counted(self: SqlitePlan, raw: Any, read: Any, writes: Any) -> Any:
        run.append((self.name, len(writes)))
        return run_set(self, raw, read, writes)

    monkeypatch.setattr(SqlitePlan, "run_set", counted)
    return run


async def test_chats_that_wait_for_the_writer_are_one_set(
    sqlite_stores: Stores, sets: list[tuple[str, int]]
) -> None:
    async def chat(name: str) -> None:
        started = await sqlite_stores.new(name)
        await sqlite_stores.messages.finish(
            session_id=name, reply_id=started.reply_id, begun_at=started.ts, pod_id=POD,
            status=ReplyStatus.COMPLETE, content="", metadata={}, feedback=None,
        )  # fmt: skip

    await asyncio.gather(*(chat(f"s{n}") for n in range(LARGEST + 8)))
    assert ("chat_start_new", LARGEST) in sets
    assert len(sets) < 16
    assert sum(size for _, size in sets) == 2 * (LARGEST + 8)
    for n in range(LARGEST + 8):
        assert [seq for seq, _ in await sqlite_stores.log(f"s{n}")] == [1, 2, 3, 4]


async def test_chats_of_one_session_that_wait_are_numbered_in_their_order(
    sqlite_stores: Stores, sets: list[tuple[str, int]]
) -> None:
    for name in ("s", "t"):
        await sqlite_stores.new(name)
    sets.clear()
    asked = [(name, f"{n}") for n in range(3) for name in ("s", "t")]
    started = await asyncio.gather(*(sqlite_stores.more(n, content=text) for n, text in asked))
    assert [one and one.last_seq for one in started] == [5, 5, 7, 7, 9, 9]
    assert ("chat_start", 2) in sets
    for name in ("s", "t"):
        log = await sqlite_stores.log(name)
        assert [seq for seq, _ in log] == list(range(1, 10))
        page = (await sqlite_stores.messages.page(name, limit=20)).rows
        assert [m.content for m in page if m.role == "user"][:3] == ["2", "1", "0"]


async def test_a_chat_that_fails_midway_fails_alone(
    sqlite_stores: Stores, sqlite_url: str, sets: list[tuple[str, int]]
) -> None:
    with closing(sqlite3.connect(file_of(sqlite_url))) as other:
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON operator_event WHEN new.session_id = 's3'"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    outcomes = await asyncio.gather(
        *(sqlite_stores.new(f"s{n}") for n in range(8)), return_exceptions=True
    )
    assert [isinstance(one, Started) for one in outcomes] == [n != 3 for n in range(8)]
    assert isinstance(outcomes[3], ConstraintViolation)
    assert max(size for _, size in sets) > 1
    found = [await sqlite_stores.sessions.get(f"s{n}") for n in range(8)]
    assert [session is not None for session in found] == [n != 3 for n in range(8)]
    async with sqlite_stores.database.transaction() as tx:
        assert await tx.fetch("SELECT count(*) FROM operator_message") == [(14,)]


async def test_nothing_of_a_set_stays_where_its_commit_fails(
    sqlite_stores: Stores, sets: list[tuple[str, int]]
) -> None:
    await sqlite_stores.new("s")
    async with sqlite_stores.database.transaction() as tx:
        pages = await tx.fetch("PRAGMA page_count")
        await tx.fetch(f"PRAGMA max_page_count = {pages[0][0]}")
    outcomes = await asyncio.gather(
        *(sqlite_stores.new(f"t{n}", content="x" * 50_000) for n in range(8)),
        return_exceptions=True,
    )
    assert all(isinstance(one, OperatorError) for one in outcomes)
    async with sqlite_stores.database.transaction() as tx:
        await tx.fetch("PRAGMA max_page_count = 1000000")
        assert await tx.fetch("SELECT session_id FROM operator_session") == [("s",)]
    assert await sqlite_stores.more("s") is not None
