"""Rows that PostgreSQL reads for one that is known by its id, or by its user, where many are in the
same state.

Few were in that state when the server last looked, as at night, so it takes them for few.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from operator_svc.db import Database
from tests.stores.filled_tables import TIMES
from tests.stores.plans import plan_of, rows_read

AT = TIMES.strip("'")

OF_REPLIES: dict[str, Callable[[list[int]], tuple[Any, ...]]] = {
    "chunks_append": lambda ids: (ids, [AT] * len(ids), [0] * len(ids), ["x"] * len(ids), "alive"),
    "chunks_ends": lambda ids: (ids[:1], [AT], "alive"),
    "reply_fence": lambda ids: ("nobody", ids[0], "alive"),
    "reply_request_cancel": lambda ids: (ids[0],),
    "reply_attend": lambda ids: (ids[0], "0001"),
    "reply_leave": lambda ids: (ids[0], ""),
    "reply_interrupt": lambda ids: ("s", "{}", ids[0], "alive"),
}


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("query", OF_REPLIES)
async def test_a_reply_is_found_by_its_id_among_many_that_are_being_written(
    postgresql_database: Database, query: str, mode: str
) -> None:
    insert = (
        "INSERT INTO operator_message (session_id, role, content, status, owner, created_at)"
        f" SELECT 's', 'assistant', '', '{{}}', {{}}, {TIMES} FROM generate_series(1, 2000)"
    )
    async with postgresql_database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_session (session_id, epoch, user_id, source)"
            " VALUES ('s', gen_random_uuid(), 'ana', 'api')"
        )
        await tx.execute(insert.format("complete", "NULL"))
        await tx.execute("ANALYZE operator_message")
        await tx.execute(insert.format("streaming", "'alive'"))
        found = await tx.fetch("SELECT id FROM operator_message WHERE owner IS NOT NULL LIMIT 20")
    arguments = OF_REPLIES[query]([row[0] for row in found])
    plan = await plan_of(postgresql_database, query, arguments, mode)
    assert rows_read(plan) <= len(found), json.dumps(plan, indent=1)


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("browser_task_request_cancel", ("running7",)),
        ("browser_task_release", (None, 1, 0, 1.0, "running7", "alive", AT, "{}")),
    ],
)
async def test_a_task_is_found_by_its_id_among_many_that_run(
    postgresql_database: Database, query: str, values: tuple[Any, ...], mode: str
) -> None:
    insert = (
        "INSERT INTO operator_browser_task (task_id, user_id, url, status, options, owner,"
        " started_at) SELECT '{0}' || i, 'ana', 'u', '{0}', '{{}}', {1}, {2}"
        " FROM generate_series(1, 2000) AS i"
    )
    async with postgresql_database.transaction() as tx:
        await tx.execute(insert.format("timeout", "NULL", "NULL"))
        await tx.execute("ANALYZE operator_browser_task")
        await tx.execute(insert.format("running", "'alive'", TIMES))
    plan = await plan_of(postgresql_database, query, values, mode)
    assert rows_read(plan) <= 1, json.dumps(plan, indent=1)


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_a_claim_looks_at_the_tasks_of_each_user_alone(
    postgresql_database: Database, mode: str
) -> None:
    insert = (
        "INSERT INTO operator_browser_task (task_id, user_id, url, status, options, not_before)"
        " SELECT '{0}' || i, {1}, 'u', '{2}', '{{}}', {3} FROM generate_series(1, 500) AS i"
    )
    async with postgresql_database.transaction() as tx:
        await tx.execute(insert.format("ended", "'user' || i % 100", "timeout", TIMES))
        await tx.execute("ANALYZE operator_browser_task")
        await tx.execute(insert.format("due", "'many'", "pending", TIMES))
        await tx.execute(insert.format("later", "'user' || i", "pending", "'infinity'"))
    arguments = ("", ["many"], "alive", "{}")
    plan = await plan_of(postgresql_database, "browser_task_claim", arguments, mode)
    assert rows_read(plan) <= 501, json.dumps(plan, indent=1)
