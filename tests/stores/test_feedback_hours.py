"""Feedback counted by hour: the statistics are those of the rows, whatever happens to them."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.models import ReplyStatus
from operator_svc.services.switch.feedback_counter import FeedbackCounter
from operator_svc.stores.feedback_hours import EngineStats, FeedbackHourStore
from operator_svc.stores.message_rows import Feedback, Started
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.switch_feedback import FeedbackStore
from tests.stores.record_rows import POD, chat, feedback

ROUNDED = 0.025
"""The most by which a latency is off (docs/system.md)."""
HOUR, DAY = 3600, 86_400
WINDOWS = (60, HOUR, 5 * HOUR, DAY, 366 * DAY)
ROWS = "operator_switch_feedback"


def moment_of(database: Database, at: datetime) -> Any:
    return at if database.dialect == "postgresql" else at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def read(database: Database, sql: str, **params: Any) -> list[tuple[Any, ...]]:
    async with database.transaction() as tx:
        return await tx.fetch(sql, **params)


async def insert(database: Database, age: float = 0, **row: Any) -> None:
    """A row; ``posted`` is None where an older version has stored it."""
    at = moment_of(database, datetime.now(UTC) - timedelta(seconds=age))
    row = {
        "engine": "a", "success": True, "latency_ms": 10, "tokens_used": 5, "posted": False,
        "not_before": at, "created_at": at, **row,
    }  # fmt: skip
    names = ", ".join(row)
    async with database.transaction() as tx:
        await tx.execute(
            f"INSERT INTO {ROWS} ({names}) VALUES ({', '.join(f':{name}' for name in row)})", **row
        )


def quantile(values: list[int], rank: float) -> float | None:
    """PostgreSQL's percentile_cont."""
    if not values:
        return None
    place = rank * (len(values) - 1)
    low, high = values[int(place)], values[min(int(place) + 1, len(values) - 1)]
    return low + (high - low) * (place % 1)


async def of_rows(database: Database, seconds: float) -> dict[str, EngineStats]:
    """The statistics as they follow from the rows themselves."""
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    found: dict[str, list[tuple[Any, ...]]] = {}
    for engine, *row in await read(
        database,
        f"SELECT engine, success, latency_ms, tokens_used FROM {ROWS} WHERE created_at >= :since",
        since=moment_of(database, since),
    ):
        found.setdefault(engine, []).append(tuple(row))
    stats = {}
    for engine, rows in found.items():
        known = sorted(ms for good, ms, _ in rows if good and ms is not None)
        stats[engine] = EngineStats(
            engine, len(rows), sum(bool(row[0]) for row in rows), sum(row[2] for row in rows),
            quantile(known, 0.5), quantile(known, 0.95),
        )  # fmt: skip
    return stats


def close(found: float | None, wanted: float | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return found == pytest.approx(wanted, rel=ROUNDED)


async def check(database: Database) -> None:
    for window in WINDOWS:
        wanted = await of_rows(database, window)
        found = {one.engine: one for one in await FeedbackHourStore(database).engines(window, 99)}
        assert set(found) == set(wanted)
        for engine, stats in wanted.items():
            counted = found[engine]
            assert (counted.calls, counted.successes, counted.tokens) == (
                stats.calls, stats.successes, stats.tokens,
            )  # fmt: skip
            assert close(counted.latency_p50_ms, stats.latency_p50_ms)
            assert close(counted.latency_p95_ms, stats.latency_p95_ms)


async def change(database: Database, dice: random.Random, sessions: Iterable[str]) -> None:
    """One of the changes that rows see in their life."""
    hours = FeedbackHourStore(database)
    match dice.randrange(8):
        case 0 | 1 | 2:
            age = dice.choice((0, 30, HOUR // 2, 2 * HOUR, DAY - HOUR, 2 * DAY, 400 * DAY))
            await insert(
                database, age,
                engine=dice.choice("abc"), success=dice.random() < 0.7,
                latency_ms=dice.choice((None, 0, dice.randrange(200), dice.randrange(10**6))),
                tokens_used=dice.randrange(100), posted=dice.choice((None, False, True)),
                session_id=dice.choice((None, *sessions)),
            )  # fmt: skip
        case 3:
            await hours.count(dice.randrange(1, 6))
        case 4:
            await hours.mark(dice.randrange(1, 4))
        case 5:
            await read(
                database,
                f"UPDATE {ROWS} SET success = :success, latency_ms = :latency, engine = :engine"
                f" WHERE id = (SELECT min(id) FROM {ROWS}) RETURNING id",
                success=dice.random() < 0.5, latency=dice.randrange(5000), engine=dice.choice("ab"),
            )  # fmt: skip
        case 6:
            await read(database, f"DELETE FROM {ROWS} WHERE id % 5 = 0 RETURNING id")
        case 7:
            await hours.purge(368, 10)


@pytest.mark.parametrize("seed", range(3))
async def test_statistics_are_those_of_the_rows_after_any_change(
    database: Database, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test's choice
    sessions = ["s-1", "s-2"]
    for session_id in sessions:
        await chat(database, session_id)
    for step in range(60):
        await change(database, dice, sessions)
        if step == 40:
            gone = sessions.pop()
            await read(
                database,
                "DELETE FROM operator_session WHERE session_id = :s RETURNING 1", s=gone,
            )  # fmt: skip
        if step % 10 == 9:
            await check(database)
    await FeedbackCounter(FeedbackHourStore(database)).run()
    await check(database)
    assert await read(database, "SELECT count(*) FROM operator_feedback_change") == [(0,)]
    assert await read(database, f"SELECT 1 FROM {ROWS} WHERE posted IS NULL") == []


async def test_rows_that_are_all_deleted_leave_no_hours(database: Database) -> None:
    store = FeedbackHourStore(database)
    for latency in range(20):
        await insert(database, latency_ms=latency)
    await insert(database, age=400 * DAY, engine="old")
    await store.count(100)
    await read(database, f"DELETE FROM {ROWS} WHERE engine = 'a' RETURNING id")
    await store.count(100)
    assert await store.purge(368, 8) == 8 + 1
    while await store.purge(368, 8):
        pass
    assert await read(database, "SELECT * FROM operator_feedback_hour") == []


async def test_processes_that_count_at_once_count_each_change_once(database: Database) -> None:
    store = FeedbackHourStore(database)
    counter = FeedbackCounter(store)
    for n in range(40):
        await insert(database, engine="abc"[n % 3], latency_ms=n, posted=n % 2 == 0 or None)
    more = [insert(database, engine="abc"[n % 3], latency_ms=n) for n in range(40)]
    await asyncio.gather(*more, *(counter.run() for _ in range(4)), *(store.count(3) for _ in more))
    await counter.run()
    await check(database)
    (counted,) = await read(database, "SELECT sum(calls) FROM operator_feedback_hour")
    assert int(counted[0]) == 80


async def finished(database: Database, session_id: str, *, forward: bool) -> Started:
    """A session whose reply has ended, and gave its own feedback."""
    started = await chat(database, session_id)
    await MessageStore(database).finish(
        session_id=session_id, reply_id=started.reply_id, begun_at=started.ts, pod_id=POD,
        status=ReplyStatus.COMPLETE, content="x", metadata={"provider": "a"},
        feedback=Feedback("a", True, 1, 1, None, forward=forward),
    )  # fmt: skip
    return started


async def test_what_an_older_version_stored_is_told_apart_and_repeats_go(
    database: Database,
) -> None:
    """Replies give feedback by themselves at their end; of what was posted the last one stays."""
    forwarded = await finished(database, "s-1", forward=True)
    kept_here = await finished(database, "s-2", forward=False)
    for latency in (101, 102, 103):
        await insert(database, -1, message_id=forwarded.reply_id, latency_ms=latency)
    await insert(database, -1, message_id=kept_here.reply_id, latency_ms=104)
    await insert(database, latency_ms=105)
    adopted = moment_of(database, datetime.now(UTC))
    for _ in range(2):  # two of one message, as an old database may have them
        await insert(
            database, 9 * DAY, message_id=kept_here.reply_id, latency_ms=106, given_up_at=adopted
        )
    await read(database, f"UPDATE {ROWS} SET posted = NULL RETURNING id")
    store = FeedbackHourStore(database)
    for _ in range(9):
        await store.mark(2)
    rows = await read(database, f"SELECT latency_ms, posted FROM {ROWS} ORDER BY id")
    assert [(latency, bool(posted)) for latency, posted in rows] == [
        (1, False), (1, False), (103, True), (104, True), (105, True), (106, False), (106, False),
    ]  # fmt: skip
    await check(database)


async def test_what_is_said_now_stays_before_what_an_older_version_stored(
    database: Database,
) -> None:
    started = await finished(database, "s-1", forward=False)
    await insert(database, -1, message_id=started.reply_id, latency_ms=101, posted=None)
    written = await FeedbackStore(database).record(
        **feedback("a", 102, session_id="s-1", message_id=started.reply_id)
    )
    assert written is not None
    await insert(database, -2, message_id=started.reply_id, latency_ms=103, posted=None)
    await FeedbackHourStore(database).mark(10)
    rows = await read(database, f"SELECT latency_ms FROM {ROWS} WHERE posted ORDER BY id")
    assert rows == [(102,)]


async def test_percentiles_are_the_same_on_both_engines(database: Database) -> None:
    latencies = {"many": [*range(0, 1000, 7)], "two": [10, 20], "one": [5]}
    for engine, values in latencies.items():
        for latency in values:
            await insert(database, engine=engine, latency_ms=latency)
    for _ in range(3):
        await insert(database, engine="two", latency_ms=99_999, success=False)
        await insert(database, engine="none", latency_ms=1, success=False)
    store = FeedbackHourStore(database)
    for _ in range(2):
        found = {stats.engine: stats for stats in await store.engines(HOUR, 10)}
        assert list(found) == ["many", "two", "none", "one"]
        for engine, values in latencies.items():
            p50, p95 = found[engine].latency_p50_ms, found[engine].latency_p95_ms
            exact = 0.0 if engine != "many" else ROUNDED
            assert p50 == pytest.approx(statistics.median(values), rel=exact, abs=1e-9)
            assert p95 == pytest.approx(quantile(values, 0.95), rel=exact, abs=1e-9)
        assert (found["two"].calls, found["two"].successes, found["two"].tokens) == (5, 2, 25)
        assert (found["none"].latency_p50_ms, found["none"].latency_p95_ms) == (None, None)
        assert [stats.engine for stats in await store.engines(HOUR, 2)] == ["many", "two"]
        await store.count(1000)


async def test_window_leaves_older_feedback_out_to_the_second(database: Database) -> None:
    store = FeedbackHourStore(database)
    assert await store.engines(HOUR, 10) == []
    for latency, age in ((10, 0), (20, HOUR - 10), (30, HOUR + 10), (40, 3000 * DAY)):
        await insert(database, age, latency_ms=latency)
    for _ in range(2):
        (stats,) = await store.engines(HOUR, 10)
        assert (stats.calls, stats.latency_p50_ms) == (2, 15.0)
        await store.count(10)


async def test_success_without_a_latency_counts_for_the_rate_and_for_no_percentile(
    database: Database,
) -> None:
    for latency in (10, None, 30):
        await insert(database, latency_ms=latency)
    (found,) = await FeedbackHourStore(database).engines(HOUR, 10)
    assert (found.calls, found.successes) == (3, 3)
    assert (found.latency_p50_ms, found.latency_p95_ms) == (20, 29)
