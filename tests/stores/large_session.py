"""A session with many rows of each kind, and what is left of it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from operator_svc.db import Database, connect
from operator_svc.models import MAX_ID
from operator_svc.settings import Settings
from operator_svc.stores.browser_tasks import BrowserTaskStore
from operator_svc.stores.message_rows import Key, Started
from operator_svc.stores.messages import MessageStore
from operator_svc.stores.sessions import SessionStore
from operator_svc.stores.switch_adjustments import AdjustmentStore
from operator_svc.stores.tool_calls import ToolCallStore

PIECE = 20
SERIES = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})"
AT = "'2026-01-01T00:00:00.000000Z'"
FILL = (
    "INSERT INTO operator_session (session_id, epoch, user_id, source, last_seq, message_count,"
    " created_at, updated_at, active_at) VALUES ('{s}', '00000000-0000-4000-8000-000000000000',"
    f" 'ana', 'api', {{n}}, {{n}}, {AT}, {AT}, {AT})",
    # Every second message is a reply to the first one, and the newest is being written.
    f"INSERT INTO operator_message (id, session_id, role, content, status, reply_to, owner,"
    f" created_at) {SERIES} SELECT {{id}} + i, '{{s}}',"
    " CASE i % 2 WHEN 0 THEN 'assistant' ELSE 'user' END, 'words',"
    " CASE i WHEN {n} THEN 'streaming' ELSE 'complete' END,"
    f" CASE i % 2 WHEN 0 THEN {{id}} + 1 END, CASE i WHEN {{n}} THEN 'pod' END, {AT} FROM n",
    f'INSERT INTO operator_reply_chunk (reply_id, "offset", content) {SERIES}'
    " SELECT {id} + {n}, i * 4, 'text' FROM n",
    f"INSERT INTO operator_event (session_id, seq, event, ts) {SERIES}"
    f" SELECT '{{s}}', i, 'e', {AT} FROM n",
    "INSERT INTO operator_chat_key (scope, key, body_hash, session_id, message_id, reply_id,"
    f" created_at) {SERIES} SELECT 'ana', '{{s}}' || i, CAST('h' AS {{blob}}), '{{s}}', {{id}} + 1,"
    f" {{id}} + i, {AT} FROM n",
    f"INSERT INTO operator_tool_call (message_id, tool_name, status, created_at) {SERIES}"
    f" SELECT {{id}} + 1, 't', 'ok', {AT} FROM n",
    "INSERT INTO operator_browser_task (task_id, session_id, user_id, url, status, options,"
    f" not_before, created_at) {SERIES} SELECT '{{s}}' || i, '{{s}}', 'ana', 'u',"
    f" CASE i WHEN 1 THEN 'pending' ELSE 'completed' END, '{{{{}}}}', {AT}, {AT} FROM n",
    "INSERT INTO operator_switch_adjustment (session_id, message_id, before_config, after_config,"
    f" reason, created_at) {SERIES} SELECT '{{s}}', {{id}} + 1, '{{{{}}}}', '{{{{}}}}', 'r', {AT}"
    " FROM n",
    "INSERT INTO operator_switch_feedback (session_id, message_id, engine, success, latency_ms,"
    f" tokens_used, not_before, created_at) {SERIES} SELECT '{{s}}', {{id}} + 1, 'e', true, 1, 1,"
    f" {AT}, {AT} FROM n",
    "INSERT INTO operator_search (message_id, session_id, words)"
    " SELECT id, session_id, 'words' FROM operator_message WHERE session_id = '{s}'",
)
TABLES = (
    "operator_session", "operator_message", "operator_reply_chunk", "operator_event",
    "operator_chat_key", "operator_tool_call", "operator_browser_task",
    "operator_switch_adjustment", "operator_switch_feedback", "operator_search",
)  # fmt: skip


async def fill(database: Database, session_id: str, rows: int, first_id: int) -> None:
    """A session with so many rows of each kind; all that hangs on a message hangs on the first."""
    blob = "bytea" if database.dialect == "postgresql" else "blob"
    async with database.transaction() as tx:
        for statement in FILL:
            await tx.execute(statement.format(s=session_id, n=rows, id=first_id, blob=blob))


async def counts(database: Database) -> dict[str, int]:
    async with database.transaction() as tx:
        return {
            table: int((await tx.fetch(f"SELECT count(*) FROM {table}"))[0][0]) for table in TABLES
        }


async def start_new(database: Database, session_id: str, key: str | None = None) -> Started | None:
    return await MessageStore(database).start_new(
        session_id=session_id, epoch=str(uuid.uuid4()), user_id="ana", source="api", content="x",
        metadata={}, pod_id="pod", key=None if key is None else Key("ana", key, b"h"),
    )  # fmt: skip


async def visible(database: Database, session_id: str, first_id: int) -> list[Any]:
    """All rows that any read shows of a session that ``fill`` has made."""
    sessions, messages = SessionStore(database), MessageStore(database)
    tasks, adjustments = BrowserTaskStore(database), AdjustmentStore(database)
    page: dict[str, Any] = {"before": MAX_ID, "limit": 100}
    lists: list[Sequence[Any]] = [
        (await sessions.page(user_id=None, words=None, limit=100)).rows,
        (await sessions.page(user_id="ana", words=None, limit=100)).rows,
        (await sessions.page(user_id=None, words="words", limit=100)).rows,
        (await sessions.page(user_id="ana", words="words", limit=100)).rows,
        (await tasks.page(user_id=None, session_id=None, status=None, **page)).rows,
        (await tasks.page(user_id=None, session_id=None, status="completed", **page)).rows,
        (await tasks.page(user_id="ana", session_id=None, status=None, **page)).rows,
        (await tasks.page(user_id="ana", session_id=None, status="completed", **page)).rows,
        (await tasks.page(user_id=None, session_id=session_id, status=None, **page)).rows,
        (await adjustments.page(viewer=None, session_id=session_id, applied=None, **page)).rows,
        (await adjustments.page(viewer="ana", session_id=None, applied=None, **page)).rows,
    ]
    rows: list[Any] = [
        await sessions.get(session_id),
        await sessions.get(session_id, "ana"),
        await messages.get(first_id + 1),
        await ToolCallStore(database).get(1),
        await tasks.get(f"{session_id}2"),
        await tasks.screenshot(f"{session_id}2"),
        await adjustments.get(1),
    ]
    return [row for found in (*lists, rows) for row in found if row is not None]


@asynccontextmanager
async def another_pod(url: str) -> AsyncIterator[SessionStore]:
    database = await connect(Settings(database_url=url))
    yield SessionStore(database)
    await database.aclose()
