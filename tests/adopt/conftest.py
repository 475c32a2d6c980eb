"""Legacy databases, as VX11's models made them, and adopting them."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from operator_svc.adopt.importer import adopt
from operator_svc.adopt.report import Report
from operator_svc.db import Database, connect
from operator_svc.models import (
    Adopted,
    BrowserTask,
    Message,
    Session,
    SwitchAdjustment,
    SwitchFeedback,
    ToolCall,
)
from operator_svc.settings import Settings

R = TypeVar("R", bound=msgspec.Struct)

SCHEMA = """
CREATE TABLE operator_session (
    id INTEGER NOT NULL PRIMARY KEY, session_id VARCHAR(64) NOT NULL, user_id VARCHAR(64) NOT NULL,
    source VARCHAR(50) NOT NULL, created_at DATETIME, updated_at DATETIME);
CREATE TABLE operator_message (
    id INTEGER NOT NULL PRIMARY KEY, session_id VARCHAR(64) NOT NULL, role VARCHAR(50) NOT NULL,
    content TEXT NOT NULL, message_metadata TEXT, created_at DATETIME,
    FOREIGN KEY (session_id) REFERENCES operator_session (session_id));
CREATE TABLE operator_tool_call (
    id INTEGER NOT NULL PRIMARY KEY, message_id INTEGER NOT NULL, tool_name VARCHAR(100) NOT NULL,
    status VARCHAR(50), duration_ms INTEGER, result TEXT, error TEXT, created_at DATETIME,
    FOREIGN KEY (message_id) REFERENCES operator_message (id));
CREATE TABLE operator_browser_task (
    id INTEGER NOT NULL PRIMARY KEY, session_id VARCHAR(64) NOT NULL, url VARCHAR(500) NOT NULL,
    status VARCHAR(50), snapshot_path VARCHAR(255), result TEXT, error TEXT, created_at DATETIME,
    executed_at DATETIME, FOREIGN KEY (session_id) REFERENCES operator_session (session_id));
CREATE TABLE operator_switch_adjustment (
    id INTEGER NOT NULL PRIMARY KEY, session_id VARCHAR(64) NOT NULL, message_id INTEGER,
    before_config TEXT NOT NULL, after_config TEXT NOT NULL, reason TEXT NOT NULL, applied BOOLEAN,
    created_at DATETIME, applied_at DATETIME);
CREATE TABLE madre_actions (id INTEGER PRIMARY KEY, what TEXT);
INSERT INTO madre_actions VALUES (1, 'of another module');
"""
"""As VX11's models made it: foreign keys stand there, and nobody switched them on."""

UNTYPED_SCHEMA = """
CREATE TABLE operator_session (id, session_id, user_id, source, created_at, updated_at);
CREATE TABLE operator_message (id, session_id, role, content, message_metadata, created_at);
CREATE TABLE operator_tool_call (
    id, message_id, tool_name, status, duration_ms, result, error, created_at);
CREATE TABLE operator_browser_task (
    id, session_id, url, status, snapshot_path, result, error, created_at, executed_at,
    screenshot_path, text_snippet, error_message, completed_at);
CREATE TABLE operator_switch_adjustment (
    id, session_id, message_id, before_config, after_config, reason, applied, created_at,
    applied_at, engine_used, success, latency_ms, tokens_used, error_message, feedback_timestamp);
"""
"""The columns that the legacy code wrote as well are there, and nothing is checked."""

TABLE_OF: dict[type, str] = {
    Session: "operator_session",
    Message: "operator_message",
    ToolCall: "operator_tool_call",
    BrowserTask: "operator_browser_task",
    SwitchAdjustment: "operator_switch_adjustment",
    SwitchFeedback: "operator_switch_feedback",
    Adopted: "operator_adopted",
}

NOON = "2025-12-14 12:00:00.000000"
AT_NOON = dt.datetime(2025, 12, 14, 12, tzinfo=dt.UTC)


class LegacyFile:
    """A legacy database that a test fills."""

    def __init__(self, path: Path, schema: str = SCHEMA) -> None:
        self.path = path
        with self.open() as raw:
            raw.executescript(schema)
        raw.close()

    def open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path)

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        """Insert rows; a table's short name will do."""
        with self.open() as raw:
            for row in rows:
                raw.execute(
                    f"INSERT INTO operator_{table} ({', '.join(row)})"
                    f" VALUES ({', '.join('?' * len(row))})",
                    list(row.values()),
                )
        raw.close()

    def run(self, sql: str) -> None:
        with self.open() as raw:
            raw.executescript(sql)
        raw.close()

    def session(self, name: object, *, created_at: object = NOON, **more: Any) -> None:
        row = {"user_id": "local", "source": "web", "updated_at": created_at} | more
        self.add("session", {"session_id": name, "created_at": created_at, **row})

    def messages(self, session: object, *texts: object, **more: Any) -> None:
        row = {"role": "user", "created_at": NOON, "message_metadata": None} | more
        for content in texts:
            self.add("message", {"session_id": session, "content": content, **row})


class Target:
    """The new database, and what is in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.settings = Settings(database_url=url)

    async def adopt(self, legacy: LegacyFile | Path, *, dry_run: bool = False) -> Report:
        path = legacy.path if isinstance(legacy, LegacyFile) else legacy
        return await adopt(self.settings, path, dry_run=dry_run, progress=lambda *_: None)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Database]:
        database = await connect(self.settings)
        try:
            yield database
        finally:
            await database.aclose()

    async def rows(self, record: type[R], more: str = "", **params: Any) -> list[R]:
        """The rows of a record's table, in the order of their ids."""
        table, fields = TABLE_OF[record], record.__struct_fields__
        columns = ", ".join(f"CAST({name} AS text)" if name == "epoch" else name for name in fields)
        async with self.open() as database, database.transaction() as transaction:
            found = await transaction.fetch(f"SELECT {columns} FROM {table} {more}", **params)
        plain = [dict(zip(fields, row, strict=True)) for row in found]
        for row in plain:
            for info in msgspec.structs.fields(record):
                value = row[info.name]
                if info.type is Any and isinstance(value, str) and database.dialect == "sqlite":
                    row[info.name] = msgspec.json.decode(value)
        rows = msgspec.convert(plain, list[record], strict=False)  # type: ignore[valid-type]
        return sorted(rows, key=lambda row: getattr(row, "id", 0))

    async def run(self, sql: str, **params: Any) -> int:
        async with self.open() as database, database.transaction() as transaction:
            return await transaction.execute(sql, **params)

    async def count(self, table: str) -> int:
        async with self.open() as database, database.transaction() as transaction:
            return int((await transaction.fetch(f"SELECT count(*) FROM {table}"))[0][0])


@pytest.fixture
def legacy(tmp_path: Path) -> LegacyFile:
    """An empty legacy database as VX11 made it."""
    return LegacyFile(tmp_path / "vx11.db")


@pytest.fixture
def untyped(tmp_path: Path) -> LegacyFile:
    """An empty legacy database that holds anything."""
    return LegacyFile(tmp_path / "untyped.db", UNTYPED_SCHEMA)


@pytest.fixture
def target(database_url: str) -> Target:
    """A migrated, empty new database: the test runs once on each engine."""
    return Target(database_url)
