"""Rows of a legacy database with anything in any column, the same ones for the same seed."""

from __future__ import annotations

import random
from typing import Any

from tests.adopt.conftest import NOON, LegacyFile

COLUMNS = {
    "session": ("session_id", "user_id", "source", "created_at", "updated_at"),
    "message": ("session_id", "role", "content", "message_metadata", "created_at"),
    "tool_call": (
        "message_id", "tool_name", "status", "duration_ms", "result", "error", "created_at",
    ),
    "browser_task": (
        "session_id", "url", "status", "snapshot_path", "result", "error", "created_at",
        "executed_at", "screenshot_path", "text_snippet", "error_message", "completed_at",
    ),
    "switch_adjustment": (
        "session_id", "message_id", "before_config", "after_config", "reason", "applied",
        "created_at", "applied_at", "engine_used", "success", "latency_ms", "tokens_used",
        "error_message", "feedback_timestamp",
    ),
}  # fmt: skip

ANYTHING: list[Any] = [
    None, "", " ", 0, 1, -1, 2**63 - 1, -(2**63), 1.5, float("inf"), 1e308, b"", b"\xff\x00",
    b"abc", "\0", "a\0b", "é🙂\u2028", "x" * 70_000, "' OR 1=1 --", "user", "ok", "done", "{}",
    "[]", "null",
    "true", "NaN", "Infinity", "1e400", '{"a": 1', '{"a": "\\u0000"}', '{"a": "\\ud800"}',
    '"\\ud83d\\ude00"', '{"http_status": "x", "title": {}, "status": 1, "links": "l"}',
    '{"http_status": 1e3}', '{"http_status": 123456789012345678901234567890}', "[" * 3000,
    "9" * 500, "0." + "1" * 20_000, '{"a": 1, "a": 2}', '{"": ""}', "\ufeff{}", NOON, "9999-12-31",
    "0000-00-00 00:00:00", "9999-12-31T23:59:59-23:59", "24:00", "s1", "s2", "s 1", "S1", "adopted",
]  # fmt: skip
"""Values of columns that nobody checks."""

LIKELY: dict[str, list[Any]] = {
    "session_id": ["s1", "s2", "s3"],
    "message_id": [1, 2, 3, "4", 5.0, 900],
    "url": ["http://example.org/"],
}


def fill(legacy: LegacyFile, *, seed: int, rows: int) -> None:
    """Add ``rows`` rows to each table; ids stand more than once too."""
    pick = random.Random(seed)  # noqa: S311
    for table, columns in COLUMNS.items():
        made = []
        for number in range(1, rows + 1):
            row: dict[str, Any] = {
                name: pick.choice(LIKELY.get(name, [NOON]) if pick.random() < 0.4 else ANYTHING)
                for name in columns
            }
            strange = [number, 1, None, "7", "id-x", -4, 2**62, 2.5, b"id"]
            row["id"] = number if pick.random() < 0.6 else pick.choice(strange)
            made.append(row)
        legacy.add(table, *made)
        # Bytes that are no UTF-8, as text.
        legacy.run(f"INSERT INTO operator_{table} (id, {columns[0]}, {columns[1]}, {columns[2]})"
                " VALUES (9999, CAST(x'61ff00eda080' AS TEXT), CAST(x'c328' AS TEXT),"
                " CAST(x'f0288cbc' AS TEXT))")  # fmt: skip
