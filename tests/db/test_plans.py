"""Queries that take arrays do work that grows with the arrays, not with their square.

PostgreSQL knows no array's length when it plans for all of them (the generic plan, from a
statement's sixth execution on); SQLite reads an array anew wherever it stands in an inner loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from psycopg import sql as quoted

from operator_svc.db.queries import load, resource_folder
from operator_svc.db.records import sqlite_params
from operator_svc.db.sqlite_units import SqliteConnection

REPLIES = 4000
"""Replies that are being written in the filled tables, one a session."""
SMALL, LARGE = 500, 2000
ALLOWED = 1.5
"""The factor by which the work may grow faster than the arrays."""

Params: TypeAlias = Mapping[str, Any]


def ids(n: int) -> list[int]:
    return list(range(1, n + 1))


def names(n: int) -> list[str]:
    return [f"s{i}" for i in ids(n)]


BEGUN_AT = "2026-01-01T00:00:00.000000Z"
CALLS: Mapping[str, Callable[[int], Params]] = {
    "browser_task_claim": lambda n: {
        "pod_id": "pod", "after": "", "data": "{}",
        "passed_over": [str(10_000 + i) for i in ids(n)],
    },
    "browser_tasks_places": lambda n: {
        "user_ids": [str(10_000 + i) for i in ids(n)], "ids": ids(n),
    },
    "browser_tasks_states": lambda n: {"task_ids": names(n)},
    "chunks_after": lambda n: {"reply_ids": ids(n), "offsets": [10] * n},
    "chunks_append": lambda n: {
        "pod_id": "pod", "reply_ids": ids(n), "begun_at": [BEGUN_AT] * n, "offsets": [20] * n,
        "contents": ["x" * 40] * n,
    },
    "chunks_ends": lambda n: {
        "pod_id": "pod", "reply_ids": ids(n), "begun_at": [BEGUN_AT] * n,
    },
    "events_after_each": lambda n: {
        "session_ids": names(n), "seqs": [2] * n, "page": 100_000, "bytes": 10**9,
    },
    "replies_streaming": lambda n: {"session_ids": names(n)},
    "session_beginnings": lambda n: {"ids": ids(n)},
    "session_news": lambda n: {"session_ids": names(n), "seqs": [2] * n},
    "tool_calls_of": lambda n: {"message_ids": ids(n), "page": 100_000, "bytes": 10**9},
}  # fmt: skip
"""For each query that takes arrays its parameters, with so many elements in each array."""

COUNT = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {REPLIES})"
NOW = f"'{BEGUN_AT}'"
FILL = (
    "INSERT INTO operator_session"
    " (session_id, epoch, user_id, source, last_seq, created_at, updated_at, active_at)"
    f" {COUNT} SELECT 's' || i, '7b4a0cd5-0c8f-4b8a-9c3f-0f6c5d1f3a11', 'ana', 'api', 3,"
    f" {NOW}, {NOW}, {NOW} FROM n",
    "INSERT INTO operator_message (id, session_id, role, content, status, owner, created_at)"
    f" {COUNT} SELECT i, 's' || i, 'assistant', '', 'streaming', 'pod', {NOW} FROM n",
    "INSERT INTO operator_message (id, session_id, role, content, status, created_at)"
    f" {COUNT} SELECT {REPLIES} + i, 's' || i, 'user', 'x', 'complete', {NOW} FROM n",
    f'INSERT INTO operator_reply_chunk (reply_id, "offset", content) {COUNT}'
    " SELECT i, 0, '0123456789' FROM n",
    f'INSERT INTO operator_reply_chunk (reply_id, "offset", content) {COUNT}'
    " SELECT i, 10, '0123456789' FROM n",
    *(
        f"INSERT INTO operator_event (session_id, seq, event, ts, message_id) {COUNT}"
        f" SELECT 's' || i, {seq}, 'reply.started', {NOW}, i FROM n"
        for seq in (1, 2, 3)
    ),
    "INSERT INTO operator_tool_call (message_id, tool_name, status, created_at)"
    f" {COUNT} SELECT i, 't', 'ok', {NOW} FROM n",
    "INSERT INTO operator_browser_task"
    " (task_id, user_id, url, status, options, not_before, created_at)"
    f" {COUNT} SELECT 's' || i, CAST(10000 + i AS text), 'https://a.example', 'pending', '{{}}',"
    f" {NOW}, {NOW} FROM n",
)


@pytest.fixture
def filled_postgresql(postgresql_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgresql_url) as connection:
        for statement in FILL:
            connection.execute(statement.encode())
        connection.execute("ANALYZE")
        connection.commit()
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.commit()
        yield connection


@pytest.fixture
def filled_sqlite(sqlite_url: str) -> Iterator[sqlite3.Connection]:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)) as raw:
        raw.add_functions()
        raw.execute("BEGIN")
        for statement in FILL:
            raw.execute(statement)
        raw.execute("COMMIT")
        yield raw


def postgresql_rows(connection: psycopg.Connection[Any], name: str, params: Params) -> int:
    """Rows that the nodes of a query's generic plan touched, those that they threw away too."""
    (statement,) = load(resource_folder("sql"), "postgresql")[name].statements
    connection.execute(f"PREPARE planned AS {statement.sql}".encode())
    call = quoted.SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE planned ({})").format(
        quoted.SQL(", ").join(quoted.Literal(params[param]) for param in statement.params)
    )
    explained = connection.execute(call).fetchone()
    connection.execute("DEALLOCATE planned")
    connection.rollback()
    assert explained is not None
    return touched(explained[0][0]["Plan"])


def touched(node: Mapping[str, Any]) -> int:
    """Rows that a plan's node and those below it touched."""
    kinds = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    own = sum(node.get(kind, 0) for kind in kinds) * node["Actual Loops"]
    return int(own) + sum(touched(part) for part in node.get("Plans", []))


def sqlite_steps(connection: sqlite3.Connection, name: str, params: Params) -> int:
    """Instructions that SQLite's machine ran for a query, in hundreds."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.execute("BEGIN")
    connection.set_progress_handler(step, 100)
    for statement in load(resource_folder("sql"), "sqlite")[name].statements:
        connection.execute(statement.sql, sqlite_params(dict(params))).fetchall()
    connection.set_progress_handler(None, 0)
    connection.execute("ROLLBACK")
    return steps


def growth(work: Callable[[str, Params], int]) -> dict[str, tuple[int, int]]:
    """The queries whose work grows faster than their arrays, with its two measures."""
    found: dict[str, tuple[int, int]] = {}
    for name, params in CALLS.items():
        small, large = work(name, params(SMALL)), work(name, params(LARGE))
        assert large > SMALL / 10, f"{name} found nothing to do"
        if large / small > ALLOWED * LARGE / SMALL:
            found[name] = (small, large)
    return found


def test_every_query_that_takes_arrays_is_tried() -> None:
    queries = load(resource_folder("sql"), "postgresql").values()
    assert {q.name for q in queries if "[])" in q.statements[0].sql} == CALLS.keys()


def test_generic_plans_of_queries_with_arrays_are_linear(
    filled_postgresql: psycopg.Connection[Any],
) -> None:
    assert growth(lambda *call: postgresql_rows(filled_postgresql, *call)) == {}


def test_queries_with_arrays_are_linear_on_sqlite(filled_sqlite: sqlite3.Connection) -> None:
    assert growth(lambda *call: sqlite_steps(filled_sqlite, *call)) == {}
