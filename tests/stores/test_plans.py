"""Rows that queries read of filled tables, by the generic plan on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operator_svc.db import Database
from operator_svc.db.queries import load, resource_folder
from operator_svc.stores.browser_tasks import BrowserTaskStore
from operator_svc.stores.messages import MessageStore
from tests.fakes.database_pool import DatabasePool
from tests.fakes.postgres import PostgresServer
from tests.stores.filled_tables import ROWS, TIMES, fill
from tests.stores.plans import plan_of, rows_read


@pytest.fixture(scope="module")
def filled_file(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the rows of ``fill``."""
    path = tmp_path_factory.mktemp("filled") / "filled.db"
    shutil.copyfile(_sqlite_template, path)
    asyncio.run(fill(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="module")
def filled_name(
    postgres_server: PostgresServer, _postgresql_databases: DatabasePool
) -> Iterator[str]:
    """A PostgreSQL database with the rows of ``fill``, by its name."""
    name = _postgresql_databases.take()
    asyncio.run(fill(postgres_server.url(name)))
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def sqlite_url(filled_file: Path, tmp_path: Path) -> str:
    """The URL of a filled SQLite file for this test alone."""
    path = tmp_path / "operator.db"
    shutil.copyfile(filled_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgresql_url(postgres_server: PostgresServer, filled_name: str) -> Iterator[str]:
    """The URL of a filled PostgreSQL database for this test alone."""
    name = postgres_server.create_database(filled_name)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


ASKED: dict[str, tuple[Any, ...]] = {
    "replies_unowned": ("nobody", True),
    "replies_streaming": (["t"],),
    "browser_tasks_page_of_user_and_status": ("ana", "timeout", 10**9, 50, 10**6),
    "browser_tasks_places": (["ana"], [1]),
}


@pytest.mark.parametrize("query", ASKED)
async def test_few_rows_are_read_for_few(postgresql_database: Database, query: str) -> None:
    plan = await plan_of(postgresql_database, query, ASKED[query], "force_generic_plan")
    assert rows_read(plan) < 60, json.dumps(plan, indent=1)


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_the_news_of_many_sessions_reads_no_others(
    postgresql_database: Database, mode: str
) -> None:
    watched = [f"s{n}" for n in range(0, 20_000, 20)]
    async with postgresql_database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_session (session_id, epoch, user_id, source)"
            " SELECT 's' || i, gen_random_uuid(), 'ana', 'api' FROM generate_series(0, 19999) AS i"
        )
        await tx.execute("ANALYZE operator_session")
    plan = await plan_of(postgresql_database, "session_news", (watched, [0] * 1_000), mode)
    assert rows_read(plan) <= len(watched), json.dumps(plan, indent=1)


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_a_page_of_sessions_reads_the_beginning_of_each(
    postgresql_database: Database, mode: str
) -> None:
    async with postgresql_database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_session (session_id, epoch, user_id, source)"
            " SELECT 's' || i, gen_random_uuid(), 'ana', 'api' FROM generate_series(1, 2000) AS i"
        )
        await tx.execute(
            "INSERT INTO operator_message (session_id, role, content, status, created_at)"
            f" SELECT 's' || i % 2000 + 1, 'user', 'x', 'complete', {TIMES}"
            " FROM generate_series(1, 20000) AS i"
        )
        await tx.execute("ANALYZE operator_session, operator_message")
        found = await tx.fetch("SELECT id FROM operator_session WHERE session_id LIKE 's%9'")
    ids = [row[0] for row in found]
    plan = await plan_of(postgresql_database, "session_beginnings", (ids,), mode)
    assert len(ids) == 200
    assert rows_read(plan) <= 3 * len(ids), json.dumps(plan, indent=1)


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_messages_are_indexed_without_reading_others(
    postgresql_database: Database, mode: str
) -> None:
    async with postgresql_database.transaction() as tx:
        ids = [row[0] for row in await tx.fetch("SELECT id FROM operator_message LIMIT 40")]
    entries = json.dumps([[id_, "some words"] for id_ in (*ids, 10**9)])
    plan = await plan_of(postgresql_database, "search_store", (entries,), mode)
    assert rows_read(plan) <= len(ids) + 1, json.dumps(plan, indent=1)
    plan = await plan_of(postgresql_database, "search_claim", (100, 1.0, 10**6), mode)
    assert rows_read(plan) <= 100, json.dumps(plan, indent=1)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("replies_unowned", "operator_message_streaming "),
        ("replies_streaming", "operator_message_streaming_session"),
        ("browser_tasks_page_of_user_and_status", "operator_browser_task_user_status"),
        ("browser_tasks_places", "operator_browser_task_turn"),
    ],
)
async def test_sqlite_looks_into_the_index(
    sqlite_database: Database, query: str, index: str
) -> None:
    statement = load(resource_folder("sql"), "sqlite")[query].statements[0]
    values = ASKED[query]
    params = dict(zip(statement.params, values, strict=True))
    async with sqlite_database.transaction() as tx:
        await tx.execute("ANALYZE")
        rows = await tx.fetch(f"EXPLAIN QUERY PLAN {statement.sql}", **params)
    told = "\n".join(str(row[-1]) for row in rows)
    assert f"USING INDEX {index}" in told or f"USING COVERING INDEX {index}" in told, told
    assert not re.search(r"^SCAN (m|operator_message|operator_browser_task)$", told, re.MULTILINE)


PURGES: dict[str, dict[str, Any]] = {
    "chunks_purge": {},
    "browser_screenshots_purge": {"days": 1.0, "page": 10},
    "session_delete_piece": {"page": 10},
    "sessions_expire": {"days": 1.0, "page": 10},
    "chat_keys_purge": {"days": 100_000.0, "page": 10},
    "feedback_purge": {"days": 100_000.0, "page": 10},
    "feedback_hours_purge": {"days": 100_000.0, "page": 10},
    "tool_calls_purge": {"days": 100_000.0, "page": 10},
    "browser_tasks_purge": {"days": 100_000.0, "page": 10},
}


@pytest.mark.parametrize("query", PURGES)
async def test_purges_that_find_nothing_read_no_whole_table_on_sqlite(
    sqlite_database: Database, query: str
) -> None:
    async with sqlite_database.transaction() as tx:
        await tx.execute("ANALYZE")
        for statement in load(resource_folder("sql"), "sqlite")[query].statements:
            rows = await tx.fetch(f"EXPLAIN QUERY PLAN {statement.sql}", **PURGES[query])
            told = "\n".join(str(row[-1]) for row in rows)
            assert not re.search(r"SCAN operator_(message|session|event)\b", told), told
            assert "TEMP B-TREE FOR ORDER BY" not in told, "the oldest rows come by an index"


async def purge_plan(database: Database, query: str, **changed: Any) -> Any:
    """The generic plan of a purge, as it ran on filled tables."""
    statement = load(resource_folder("sql"), "postgresql")[query].statements[0]
    params = PURGES[query] | changed
    arguments = ", ".join(str(params[name]) for name in statement.params)
    async with database.transaction() as tx:
        await tx.execute("UPDATE operator_session SET active_at = now()")
        await tx.execute("UPDATE operator_browser_task SET completed_at = created_at")
        await tx.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await tx.execute(f"PREPARE asked AS {statement.sql}")
        call = f"EXECUTE asked({arguments})" if arguments else "EXECUTE asked"
        ((told,),) = await tx.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {call}")
        await tx.execute("DEALLOCATE asked")
    plan = told if isinstance(told, list) else json.loads(told)
    return plan[0]["Plan"]


@pytest.mark.parametrize("query", PURGES)
async def test_purges_that_find_nothing_read_few_rows_on_postgresql(
    postgresql_database: Database, query: str
) -> None:
    plan = await purge_plan(postgresql_database, query)
    assert rows_read(plan) < 60, json.dumps(plan, indent=1)
    assert rows_locked(plan) == 0, "a lock is a write, of what nobody deletes"


@pytest.mark.parametrize(
    "query", ["chat_keys_purge", "feedback_purge", "tool_calls_purge", "browser_tasks_purge"]
)
async def test_a_page_of_a_purge_reads_no_more_than_the_page_on_postgresql(
    postgresql_database: Database, query: str
) -> None:
    plan = await purge_plan(postgresql_database, query, days=1.0)
    assert plan["Actual Rows"] == 10, "it has deleted a page"
    assert rows_read(plan) < 60, json.dumps(plan, indent=1)


def rows_locked(plan: Any) -> int:
    """The rows that a plan of PostgreSQL locked."""
    own = int(plan["Actual Rows"]) if plan["Node Type"] == "LockRows" else 0
    return own + sum(rows_locked(child) for child in plan.get("Plans", ()))


async def test_what_is_found_is_the_same(database: Database) -> None:
    messages, tasks = MessageStore(database), BrowserTaskStore(database)
    assert {reply.owner for reply in await messages.unowned("nobody")} == {"dead", "gone"}
    assert len(await messages.unowned("alive")) == ROWS + 3
    assert len(await messages.streaming(["t"])) == 3
    rare = await tasks.page(user_id="ana", session_id=None, status="timeout", before=10**9, limit=9)
    assert [task.task_id for task in rare.rows] == ["2", "1", "0"]
    newest = await tasks.page(user_id="ana", session_id=None, status=None, before=10**9, limit=2)
    assert [task.task_id for task in newest.rows] == [str(ROWS - 1), str(ROWS - 2)]


async def test_claim_reads_little_beside_many_tasks_and_users(database: Database) -> None:
    """Neither a user with very many tasks who is passed over nor many users make a claim slow."""
    many = 20_000
    async with database.transaction() as tx:
        await tx.executemany(
            "INSERT INTO operator_browser_task (task_id, user_id, url, status, options,"
            " not_before, created_at)"
            f" VALUES (:id, :user, 'u', 'pending', '{{}}', {TIMES}, {TIMES})",
            [
                {"id": f"due-{n}", "user": "many" if n < many else f"user-{n}"}
                for n in range(2 * many)
            ],
        )  # fmt: skip
        if database.dialect == "postgresql":
            await tx.execute("ANALYZE")
    store = BrowserTaskStore(database)
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        claimed = await store.claim("alive", after="lots", passed_over=["many"])
        seconds.append(time.perf_counter() - began)
        assert claimed is not None
        assert claimed.user_id.startswith("user-2")
    assert min(seconds) < 0.03
