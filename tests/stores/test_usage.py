"""Usage counted by day: nothing is lost or counted twice, and a year of it is read at once."""

from __future__ import annotations

import asyncio
from typing import Any

from operator_svc.db import Database
from operator_svc.db.queries import load, resource_folder
from operator_svc.models import ReplyStatus
from operator_svc.stores.message_rows import TokenUsage
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.usage import UsageRow, UsageStore
from tests.stores.record_rows import POD, chat

DAYS = {"first_day": "0001-01-01", "last_day": "9999-12-31"}
USERS, MODELS = 50, 2
YEAR = 365 * USERS * MODELS
NAMES = ("dimension", "first_day", "last_day", "token", "user_id", "after", "page")
"""The parameters of the query, in their order."""

FILL = {
    "postgresql": """
        INSERT INTO operator_usage
        SELECT
            to_char(DATE '2026-01-01' + d, 'YYYY-MM-DD'), 't' || (u % 5), 'u' || u, 'm' || m,
            3, 10, 20, 30
        FROM
            generate_series(0, 364) AS d, generate_series(1, 50) AS u,
            generate_series(1, 2) AS m
    """,
    "sqlite": """
        WITH RECURSIVE
        d (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM d WHERE i < 364),
        u (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM u WHERE i < 50),
        m (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM m WHERE i < 2)
        INSERT INTO operator_usage
        SELECT
            date('2026-01-01', d.i || ' days'), 't' || (u.i % 5), 'u' || u.i, 'm' || m.i,
            3, 10, 20, 30
        FROM d, u, m
    """,
}


async def read(database: Database, by: str, **given: Any) -> list[UsageRow]:
    fields = {"token": None, "user_id": None, "after": "", "limit": 1001, **DAYS, **given}
    return await UsageStore(database).page(by, **fields)


async def end(database: Database, session_id: str, usage: TokenUsage) -> None:
    """A chat whose reply used tokens."""
    started = await chat(database, session_id)
    ended = await MessageStore(database).finish(
        session_id=session_id, reply_id=started.reply_id, begun_at=started.ts, pod_id=POD,
        status=ReplyStatus.COMPLETE, content="x", metadata={}, feedback=None, usage=usage,
    )  # fmt: skip
    assert ended is not None


async def test_usage_is_exact_while_several_count_it(database: Database) -> None:
    store, total = UsageStore(database), 24
    ends = [
        end(database, f"s-{n}", TokenUsage(f"t{n % 2}", "ann", f"m{n % 3}", n, 1, n + 1))
        for n in range(total)
    ]

    async def count() -> None:
        while [row.replies for row in await read(database, "user")] != [total]:
            await store.count(3)

    async with asyncio.timeout(30):
        await asyncio.gather(*ends, count(), count())
    while await store.count(3):
        pass
    wanted = sum(range(total))
    assert await read(database, "user") == [UsageRow("ann", total, wanted, total, wanted + total)]
    assert [row.key for row in await read(database, "model")] == ["m0", "m1", "m2"]
    assert [row.replies for row in await read(database, "token", token="t1")] == [total // 2]
    async with database.transaction() as tx:
        assert await tx.fetch("SELECT count(*) FROM operator_usage_change") == [(0,)]


async def test_an_end_that_is_repeated_counts_once(database: Database) -> None:
    started = await chat(database)
    for expected in (True, False):
        ended = await MessageStore(database).finish(
            session_id="s-1", reply_id=started.reply_id, begun_at=started.ts, pod_id=POD,
            status=ReplyStatus.COMPLETE, content="x", metadata={}, feedback=None,
            usage=TokenUsage("t", "ann", "m", 1, 2, 3),
        )  # fmt: skip
        assert (ended is not None) is expected
    assert await read(database, "day", user_id="bob") == []
    assert [row.total_tokens for row in await read(database, "day", user_id="ann")] == [3]


async def test_old_usage_is_deleted_in_pages(database: Database) -> None:
    async with database.transaction() as tx:
        for day in ("2001-01-01", "2001-01-02", "2001-01-03"):
            await tx.execute(
                "INSERT INTO operator_usage VALUES (:day, 't', 'u', 'm', 1, 1, 1, 2)", day=day
            )
    await end(database, "s-1", TokenUsage("t", "ann", "m", 1, 1, 2))
    store = UsageStore(database)
    await store.count(10)
    assert [await store.purge(1100.0, 2) for _ in range(3)] == [2, 1, 0]
    assert len(await read(database, "day")) == 1


async def test_a_year_of_usage_is_summed_over_the_counts_of_its_days(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute(FILL[database.dialect])
    for by, keys in (("day", 365), ("token", 5), ("user", USERS), ("model", MODELS)):
        rows = await read(database, by)
        assert len(rows) == keys
        assert sum(row.replies for row in rows) == 3 * YEAR
    month = {"first_day": "2026-03-01", "last_day": "2026-03-31"}
    assert sum(row.replies for row in await read(database, "user", **month)) == 31 * 3 * YEAR / 365
    sql = load(resource_folder("sql"), database.dialect)["usage_by"].statements[0].sql
    given = ("'user'", "'2026-03-01'", "'2026-03-31'", "NULL", "NULL", "''", "9")
    for number, (name, value) in enumerate(zip(NAMES, given, strict=True), 1):
        sql = sql.replace(f"${number}", value).replace(f":{name}", value)
    explain = "EXPLAIN" if database.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
    async with database.transaction() as tx:
        if database.dialect == "postgresql":
            await tx.execute("ANALYZE operator_usage")
        plan = "\n".join(str(row[-1]) for row in await tx.fetch(f"{explain} {sql}"))
    assert "operator_usage_pkey" in plan or "SEARCH d USING PRIMARY KEY (day>? AND day<?)" in plan
