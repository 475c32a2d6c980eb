"""Rows that are kept for a limited time, on both engines."""

from __future__ import annotations

from functools import partial

import pytest

from operator_svc.db import Database
from operator_svc.services.retry import purge_pages
from operator_svc.stores.retention import Kind, RetentionStore

OLD = "'2020-01-01T00:00:00.000000Z'"
YOUNG = "'2999-01-01T00:00:00.000000Z'"
FILL: dict[Kind, tuple[str, str]] = {
    "chat_keys": (
        "operator_chat_key",
        "INSERT INTO operator_chat_key (scope, key, body_hash, session_id, message_id, reply_id,"
        " created_at) VALUES ('u', :n, :hash, 's', :id, :id, {at})",
    ),
    "feedback": (
        "operator_switch_feedback",
        "INSERT INTO operator_switch_feedback (engine, success, latency_ms, tokens_used,"
        " not_before, created_at) VALUES (:n, :yes, 1, 1, {at}, {at})",
    ),
    "tool_calls": (
        "operator_tool_call",
        "INSERT INTO operator_tool_call (message_id, tool_name, status, created_at)"
        " VALUES (:id, :n, 'ok', {at})",
    ),
    "browser_tasks": (
        "operator_browser_task",
        "INSERT INTO operator_browser_task (task_id, user_id, url, status, options, not_before,"
        " created_at, completed_at) VALUES (:n, 'u', 'x', 'completed', '{{}}', {at}, {at}, {at})",
    ),
}


async def fill(database: Database, kind: Kind, old: int, young: int) -> None:
    statement = FILL[kind][1]
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_session (session_id, epoch, user_id, source, created_at,"
            " updated_at, active_at) VALUES ('s', '00000000-0000-4000-8000-000000000000', 'u',"
            f" 'api', {OLD}, {OLD}, {OLD})"
        )
        await tx.executemany(
            "INSERT INTO operator_message (id, session_id, role, content, status, created_at)"
            f" VALUES (:id, 's', 'user', '', 'complete', {OLD})",
            [{"id": n} for n in range(1, old + young + 1)],
        )
        for at, numbers in ((OLD, range(1, old + 1)), (YOUNG, range(old + 1, old + young + 1))):
            rows = [{"id": n, "n": str(n), "hash": b"h", "yes": True} for n in numbers]
            used = [{k: v for k, v in row.items() if f":{k}" in statement} for row in rows]
            await tx.executemany(statement.format(at=at), used)


async def left(database: Database, kind: Kind) -> int:
    async with database.transaction() as tx:
        return int((await tx.fetch(f"SELECT count(*) FROM {FILL[kind][0]}"))[0][0])


@pytest.mark.parametrize("kind", FILL)
async def test_old_rows_go_page_by_page_and_young_ones_stay(database: Database, kind: Kind) -> None:
    await fill(database, kind, old=25, young=7)
    store = RetentionStore(database)
    assert await store.purge(kind, 10_000, 10) == 0, "nothing is as old as that"
    assert await store.purge(kind, 30, 10) == 10
    await purge_pages(partial(store.purge, kind, 30), 10)
    assert await left(database, kind) == 7
    assert await store.purge(kind, 30, 10) == 0


async def test_keys_of_one_reply_are_purged_each_at_its_own_age(database: Database) -> None:
    await fill(database, "chat_keys", old=6, young=3)
    async with database.transaction() as tx:
        await tx.execute("UPDATE operator_chat_key SET reply_id = 1")
    store = RetentionStore(database)
    await purge_pages(partial(store.purge, "chat_keys", 30), 100)
    assert await left(database, "chat_keys") == 3


async def test_tasks_that_have_not_ended_stay(database: Database) -> None:
    await fill(database, "browser_tasks", old=3, young=0)
    async with database.transaction() as tx:
        await tx.execute(
            "UPDATE operator_browser_task SET status = 'pending', completed_at = NULL"
            " WHERE task_id = '2'"
        )
    assert await RetentionStore(database).purge("browser_tasks", 1, 10) == 2
    assert await left(database, "browser_tasks") == 1
