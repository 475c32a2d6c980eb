"""Tables with many rows of a usual state, and a few of a rare one."""

from __future__ import annotations

from operator_svc.db import Database, Transaction, connect
from operator_svc.settings import Settings

ROWS = 5_000
TIMES = "'2026-01-01T00:00:00.000000Z'"


async def fill(url: str) -> None:
    """Fill the tables of a database."""
    database = await connect(Settings(database_url=url))
    try:
        await _fill(database)
    finally:
        await database.aclose()


async def _fill(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO operator_session (session_id, epoch, user_id, source, created_at,"
            " updated_at, active_at) VALUES ('s', '00000000-0000-4000-8000-000000000000', 'ana',"
            f" 'api', {TIMES}, {TIMES}, {TIMES}), ('t', '00000000-0000-4000-8000-000000000000',"
            f" 'ana', 'api', {TIMES}, {TIMES}, {TIMES})"
        )
        await tx.execute(
            "INSERT INTO operator_pod (pod_id, started_at, lease_until) VALUES"
            f" ('alive', {TIMES}, '2999-01-01T00:00:00.000000Z'), ('dead', {TIMES}, {TIMES})"
        )
        await tx.executemany(
            "INSERT INTO operator_message (session_id, role, content, status, owner, created_at)"
            f" VALUES (:s, 'assistant', '', :status, :owner, {TIMES})",
            [{"s": "s", "status": "streaming", "owner": "alive"}] * ROWS
            + [{"s": "t", "status": "complete", "owner": None}] * ROWS
            + [{"s": "t", "status": "streaming", "owner": o} for o in ("dead", "gone", "alive")],
        )
        await tx.executemany(
            "INSERT INTO operator_browser_task (task_id, user_id, url, status, options,"
            f" not_before, created_at) VALUES (:id, 'ana', 'u', :status, '{{}}', {TIMES}, {TIMES})",
            [
                {"id": str(n), "status": "timeout" if n < 3 else "completed"} for n in range(ROWS)
            ],
        )  # fmt: skip
        await _fill_records(database, tx)
        if database.dialect == "postgresql":
            await tx.execute("ANALYZE")


async def _fill_records(database: Database, tx: Transaction) -> None:
    """As many idempotency keys, tool calls, feedback and events."""
    blob = "bytea" if database.dialect == "postgresql" else "blob"
    message = "(SELECT min(id) FROM operator_message)"
    for table, values in (
        ("operator_chat_key (scope, key, body_hash, session_id, message_id, reply_id, created_at)",
         f"'ana', CAST(i AS text), CAST('h' AS {blob}), 's', {message}, {message} + i, {TIMES}"),
        ("operator_tool_call (message_id, tool_name, status, created_at)",
         f"{message} + i, 't', 'ok', {TIMES}"),
        ("operator_switch_feedback (engine, success, latency_ms, tokens_used, not_before,"
         " created_at)",
         f"'e', true, 1, 1, {TIMES}, {TIMES}"),
        ("operator_event (session_id, seq, event, ts)",
         f"'s', i, 'e', {TIMES}"),
    ):  # fmt: skip
        await tx.execute(
            f"INSERT INTO {table} WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
            f" WHERE i < {ROWS}) SELECT {values} FROM n"
        )
