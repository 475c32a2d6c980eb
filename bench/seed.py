"""Fills databases with sessions and messages, by the bulk ways of each engine."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from bench.context import Bench, Engine, path_of

MESSAGES_A_SESSION = 20
WORDS = "the quick brown fox jumps over the lazy dog and sleeps"
TARGET = "history"
"""The session with ``TARGET_MESSAGES`` messages whose history is read."""
TARGET_MESSAGES = 200
OTHERS = "other"

_SQLITE = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {sessions})
INSERT INTO operator_session (
    session_id, epoch, user_id, source, last_seq, message_count, created_at, updated_at, active_at
)
SELECT '{prefix}' || i, '00000000-0000-4000-8000-000000000000', 'u' || (i % 100), 'api', 0, {each},
    '2025-12-14T10:00:00.000000Z', '2025-12-14T10:00:00.000000Z', '2025-12-14T10:00:00.000000Z'
FROM n;
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {messages})
INSERT INTO operator_message (
    session_id, role, content, status, metadata, created_at, finished_at
)
SELECT '{prefix}' || (i % {sessions}),
    CASE (i / {sessions}) % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
    '{words} ' || i, 'complete', '{{"status":"ok","provider":"p","latency_ms":12}}',
    '2025-12-14T10:00:00.000000Z', '2025-12-14T10:00:00.000000Z'
FROM n;
"""
_POSTGRESQL = """
INSERT INTO operator_session (session_id, epoch, user_id, source, message_count)
SELECT '{prefix}' || i, gen_random_uuid(), 'u' || (i % 100), 'api', {each}
FROM generate_series(0, {sessions} - 1) AS i;
INSERT INTO operator_message (session_id, role, content, status, metadata, finished_at)
SELECT '{prefix}' || (i % {sessions}),
    CASE (i / {sessions}) % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
    '{words} ' || i, 'complete', '{{"status":"ok","provider":"p","latency_ms":12}}', now()
FROM generate_series(0, {messages} - 1) AS i;
"""
_INDEX = """
INSERT INTO operator_search (message_id, session_id, words)
SELECT id, session_id, {words} FROM operator_message WHERE TRUE ON CONFLICT DO NOTHING;
DELETE FROM operator_search_queue;
"""
"""The index of the search, which Operator would fill beside what is measured."""


def _sql(template: str, prefix: str, sessions: int, messages: int) -> str:
    return template.format(
        prefix=prefix, sessions=sessions, messages=messages, each=messages // sessions, words=WORDS
    )


def fill(bench: Bench, engine: Engine, url: str, messages: int) -> None:
    """The session ``TARGET`` amid ``messages`` messages of others, which come before and after."""
    half, sessions = messages // 2, max(1, messages // 2 // MESSAGES_A_SESSION)
    plan = [(f"{OTHERS}-a-", sessions, half), (TARGET, 1, TARGET_MESSAGES),
            (f"{OTHERS}-b-", sessions, half)]  # fmt: skip
    if engine == "sqlite":
        _fill_sqlite(Path(path_of(url)), plan)
    else:
        _fill_postgresql(bench, url, plan)


def _fill_sqlite(path: Path, plan: list[tuple[str, int, int]]) -> None:
    with sqlite3.connect(path) as database:
        for prefix, sessions, messages in plan:
            database.executescript(_sql(_SQLITE, prefix, sessions, messages))
        database.executescript(_INDEX.format(words="lower(content)"))
        database.execute("ANALYZE")
    database.close()


def _fill_postgresql(bench: Bench, url: str, plan: list[tuple[str, int, int]]) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    server = bench.postgres
    scripts = [_sql(_POSTGRESQL, prefix, sessions, messages) for prefix, sessions, messages in plan]
    scripts.append(_INDEX.format(words="array_to_tsvector(string_to_array(lower(content), ' '))"))
    for statement in ";\n".join(scripts).split(";\n"):
        if statement.strip():
            server.execute(statement, name)
    server.execute("VACUUM ANALYZE", name)
