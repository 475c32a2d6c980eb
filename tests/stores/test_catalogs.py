"""The tables are what the records say, and no query that pages or searches reads a whole table."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import pytest

from operator_svc import models
from operator_svc.db import Database

TABLES: Mapping[str, type[msgspec.Struct]] = {
    "operator_session": models.Session,
    "operator_message": models.Message,
    "operator_event": models.Event,
    "operator_reply_chunk": models.ReplyChunk,
    "operator_chat_key": models.ChatKey,
    "operator_session_key": models.SessionKey,
    "operator_search": models.SearchEntry,
    "operator_search_queue": models.SearchQueued,
    "operator_search_backfill": models.SearchBackfill,
    "operator_pod": models.Pod,
    "operator_schema": models.Schema,
    "operator_history": models.DatabaseHistory,
    "operator_tool_call": models.ToolCall,
    "operator_browser_task": models.BrowserTask,
    "operator_switch_adjustment": models.SwitchAdjustment,
    "operator_switch_feedback": models.SwitchFeedback,
    "operator_feedback_hour": models.FeedbackHour,
    "operator_feedback_change": models.FeedbackChange,
    "operator_usage": models.UsageDay,
    "operator_usage_change": models.UsageChange,
    "operator_adopted": models.Adopted,
}
EXTRA: Mapping[str, dict[str, tuple[Any, bool]]] = {
    "operator_browser_task": {"screenshot": (bytes, True)},
    "operator_session": {"deleted_at": (datetime, True)},
}
"""Columns that a table's record leaves out: large ones, and what is NULL wherever it is read."""
POSTGRESQL = {
    "bigint": int, "text": str, "uuid": str, "boolean": bool, "bytea": bytes,
    "timestamp with time zone": datetime, "jsonb": Any,
    "tsvector": str,
}  # fmt: skip


def expected(table: str) -> dict[str, tuple[Any, bool]]:
    """The columns of a record: name, Python type, and whether it may be NULL."""
    columns: dict[str, tuple[Any, bool]] = {}
    hints = typing.get_type_hints(TABLES[table])
    for name in TABLES[table].__struct_fields__:
        kind, nullable = hints[name], False
        if isinstance(kind, types.UnionType):
            nullable = True
            (kind,) = (part for part in kind.__args__ if part is not types.NoneType)
        columns[name] = (kind, nullable)
    return columns | EXTRA.get(table, {})


async def test_every_table_has_a_record(database: Database) -> None:
    async with database.transaction() as tx:
        if database.dialect == "postgresql":
            rows = await tx.fetch(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relkind IN ('r', 'p') AND NOT relispartition"
            )
        else:
            rows = await tx.fetch("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = {row[0] for row in rows if row[0].startswith("operator_")}
    assert {t for t in tables if not t.startswith("operator_search_words")} == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
async def test_columns_are_what_the_record_says(database: Database, table: str) -> None:
    wanted = expected(table)
    async with database.transaction() as tx:
        if database.dialect == "postgresql":
            rows = await tx.fetch(
                "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
                " WHERE table_name = :name ORDER BY ordinal_position",
                name=table,
            )
            found = {r[0]: (POSTGRESQL[r[1]], r[2] == "YES") for r in rows}
            compared = wanted
        else:
            rows = await tx.fetch(
                'SELECT name, type, "notnull", pk FROM pragma_table_info(:name)', name=table
            )
            sqlite = {"INTEGER": int, "TEXT": str, "BLOB": bytes}
            found = {r[0]: (sqlite[r[1]], not r[2] and not r[3]) for r in rows}
            text = {datetime: str, Any: str, bool: int}
            compared = {name: (text.get(k, k), null) for name, (k, null) in wanted.items()}
    assert list(found) == list(compared)
    for name, (kind, nullable) in compared.items():
        if wanted[name][0] is Any:
            assert found[name][0] == kind
        else:
            assert found[name] == (kind, nullable), name


async def test_foreign_keys_and_session_ids_have_indexes(database: Database) -> None:
    async with database.transaction() as tx:
        if database.dialect == "postgresql":
            keys = await tx.fetch(
                "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c"
                " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
                " WHERE c.contype = 'f' AND c.conrelid <> 'operator_event'::regclass"
            )
            # The parts of a table have indexes, and the whole none.
            indexed = await tx.fetch(
                "SELECT unnest(ARRAY[i.indrelid, p.inhparent])::regclass::text, a.attname"
                " FROM pg_index i LEFT JOIN pg_inherits p ON p.inhrelid = i.indrelid"
                " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
            )
        else:
            keys, indexed = [], []
            for table in TABLES:
                rows = await tx.fetch("SELECT * FROM pragma_foreign_key_list(:t)", t=table)
                keys += [(table, row[3]) for row in rows]
                for row in await tx.fetch("SELECT name FROM pragma_index_list(:t)", t=table):
                    first = await tx.fetch("SELECT name FROM pragma_index_info(:i)", i=row[0])
                    indexed.append((table, first[0][0]))
                pk = await tx.fetch("SELECT name FROM pragma_table_info(:t) WHERE pk = 1", t=table)
                indexed += [(table, row[0]) for row in pk]
    # Keys go with their replies, and nobody looks for those of a session.
    by_session = [table for table in TABLES if table != "operator_chat_key"]
    sessions = [(t, "session_id") for t in by_session if "session_id" in expected(t)]
    missing = {tuple(k) for k in [*keys, *sessions]} - {tuple(i) for i in indexed}
    assert missing == set()
    assert len(keys) >= 9


PLANS = {
    "history": (
        "SELECT id FROM operator_message WHERE session_id = 's7' AND id < 999999"
        " ORDER BY id DESC LIMIT 200"
    ),
    "session list": (
        "SELECT id FROM operator_session WHERE (active_at, id) < ('{future}', 9)"
        " ORDER BY active_at DESC, id DESC LIMIT 50"
    ),
    "session list of a user": (
        "SELECT id FROM operator_session WHERE user_id = 'u7'"
        " AND (active_at, id) < ('{future}', 9) ORDER BY active_at DESC, id DESC LIMIT 50"
    ),
    "events": "SELECT seq FROM operator_event WHERE session_id = 's7' AND seq > 3 LIMIT 100",
    "replies of a pod": (
        "SELECT id FROM operator_message WHERE status = 'streaming' AND owner = 'pod'"
    ),
}


@pytest.mark.parametrize("plan", PLANS)
async def test_reads_use_an_index(database: Database, plan: str) -> None:
    postgresql = database.dialect == "postgresql"
    async with database.transaction() as tx:
        now = "now()" if postgresql else "'2026-01-01T00:00:00.000000Z'"
        uid = "gen_random_uuid()" if postgresql else "'e'"
        await tx.executemany(
            "INSERT INTO operator_session (session_id, epoch, user_id, source, created_at,"
            f" updated_at, active_at) VALUES (:s, {uid}, :u, 'api', {now}, {now}, {now})",
            [{"s": f"s{n}", "u": f"u{n % 20}"} for n in range(300)],
        )
        await tx.executemany(
            f"INSERT INTO operator_event (session_id, seq, event, ts) VALUES (:s, :n, 'e', {now})",
            [{"s": f"s{n % 300}", "n": n // 300 + 1} for n in range(3000)],
        )
        rows = [{"s": f"s{n % 300}", "c": f"some word{n}"} for n in range(6000)]
        await tx.executemany(
            "INSERT INTO operator_message (session_id, role, content, status, created_at)"
            f" VALUES (:s, 'user', :c, 'complete', {now})",
            rows,
        )
        if postgresql:
            await tx.execute("ANALYZE")
        sql = PLANS[plan].replace("{future}", "2999-01-01T00:00:00Z")
        explain = "EXPLAIN " if postgresql else "EXPLAIN QUERY PLAN "
        lines = [str(row[-1]) for row in await tx.fetch(explain + sql)]
    told = "\n".join(lines)
    # Days without events are read as a whole.
    scan = (
        r"Seq Scan on (?!operator_event_)"
        if postgresql
        else r"SCAN (?!.*(VIRTUAL TABLE INDEX|USING))"
    )
    assert not re.search(scan, told), told
