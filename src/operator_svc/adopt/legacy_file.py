"""The file of VX11's legacy backend, read and never written.

All modules of VX11 shared one SQLite file, ``vx11.db``. Nothing that is done here changes it or
puts a file beside it: where it has a write-ahead log or a journal, a temporary copy is read.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from operator_svc.errors import ConfigurationError

TABLES = (
    "operator_session",
    "operator_message",
    "operator_tool_call",
    "operator_browser_task",
    "operator_switch_adjustment",
)
"""The legacy backend's tables; the others in the file belong to other modules."""

BATCH_ROWS = 5000
BATCH_BYTES = 4 * 2**20
"""A batch ends at so many rows, or at the row that brings its text to so many bytes."""

BUSY_SECONDS = 5.0
"""Seconds that a file may be locked before it counts as one that is being written."""

_HEADER = b"SQLite format 3\0"
_WAL_MODE = b"\x02\x02"
_SIDECARS = ("-wal", "-journal")
_COPY_ATTEMPTS = 5
"""Attempts to copy a file that changes while it is copied."""

_State = dict[str, tuple[int, int]]
"""Sizes and times of the file and of what stands beside it."""


class LegacyDatabase:
    """An open legacy file. ``columns`` are those of each of the tables that it has."""

    def __init__(self, path: Path, raw: sqlite3.Connection, before: _State | None) -> None:
        self.path = path
        self._raw = raw
        self._before = before
        self._bytes = 0
        raw.text_factory = self._text
        self.columns: dict[str, frozenset[str]] = {}
        with self._translated():
            raw.execute("BEGIN")
            for table in TABLES:
                names = [row[1].lower() for row in raw.execute(f"PRAGMA table_info({table})")]
                if names:
                    self.columns[table] = frozenset(names)
        if not self.columns:
            raise ConfigurationError([f"{path} has none of the tables of VX11's legacy Operator"])
        if "epoch" in self.columns.get("operator_session", ()):
            raise ConfigurationError([f"{path} is a database of this Operator, no legacy one"])

    def check_unchanged(self) -> None:
        """Raises ConfigurationError where somebody wrote the file while it was read."""
        if self._before is not None and _state(self.path) != self._before:
            raise ConfigurationError(
                [f"{self.path} was changed while it was read; stop VX11 first"]
            )

    def count(self, table: str) -> int:
        """The number of a table's rows; 0 where it is missing."""
        return self._number(f"SELECT count(*) FROM {table}", table)  # noqa: S608

    def highest_id(self, table: str, limit: int) -> int:
        """The highest integer id from 1 to ``limit``; 0 where there is none."""
        if "id" not in self.columns.get(table, ()):
            return min(self._number(f"SELECT max(rowid) FROM {table}", table), limit)  # noqa: S608
        return self._number(
            f"SELECT max(id) FROM {table}"  # noqa: S608
            f" WHERE typeof(id) = 'integer' AND id BETWEEN 1 AND {limit:d}",
            table,
        )

    def highest_message_named(self, limit: int) -> int:
        """The highest message id from 1 to ``limit`` that a tool call or a change names."""
        return max(
            self._number(
                f"SELECT max(message_id) FROM {table}"  # noqa: S608
                f" WHERE typeof(message_id) = 'integer' AND message_id BETWEEN 1 AND {limit:d}",
                table if "message_id" in self.columns.get(table, ()) else "",
            )
            for table in ("operator_tool_call", "operator_switch_adjustment")
        )

    def _number(self, sql: str, table: str) -> int:
        if table not in self.columns:
            return 0
        with self._translated():
            return self._raw.execute(sql).fetchone()[0] or 0

    def batches(
        self, table: str, columns: Sequence[str], order: Sequence[str] = ("id",)
    ) -> Iterator[list[tuple[Any, ...]]]:
        """All rows of a table, in batches of bounded size, NULL for columns that it lacks.

        A table without ``id`` gives its rowid instead. Text that is not UTF-8 comes with surrogate
        halves in it. Raises ConfigurationError where the file is damaged.
        """
        if table not in self.columns:
            return
        there = self.columns[table]
        names = {name: f'"{name}"' if name in there else "NULL" for name in columns}
        if "id" not in there:
            names["id"] = "rowid"
        # NULL stands first in SQLite's order, and last in ours.
        by = ", ".join(f"{names[name]} IS NULL, {names[name]}" for name in order)
        if order == ("id",) and "id" in there:
            by = '"id"'
        chosen = ", ".join(names[name] for name in columns)
        with self._translated():
            cursor = self._raw.execute(f"SELECT {chosen} FROM {table} ORDER BY {by}")  # noqa: S608
        while batch := self._batch(cursor):
            yield batch

    def _batch(self, cursor: sqlite3.Cursor) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        self._bytes = 0
        with self._translated():
            for row in cursor:
                rows.append(row)
                if len(rows) == BATCH_ROWS or self._bytes >= BATCH_BYTES:
                    break
        return rows

    def _text(self, data: bytes) -> str:
        self._bytes += len(data)
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return data.decode("utf-8", "surrogateescape")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise _translated(self.path, error) from error


@contextmanager
def open_legacy(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> Iterator[LegacyDatabase]:
    """Open a legacy file for reading; one that is locked is waited for.

    Raises ConfigurationError where it cannot be read, or is no database, or not VX11's.
    """
    before = _state(path)
    with tempfile.TemporaryDirectory(prefix="operator-adopt-") as folder:
        uri, locked = _to_read(path, Path(folder))
        try:
            raw = sqlite3.connect(uri, uri=True, timeout=busy_seconds, isolation_level=None)
        except sqlite3.Error as error:
            raise _translated(path, error) from error
        try:
            yield LegacyDatabase(path, raw, None if locked else before)
        finally:
            raw.close()


def _to_read(path: Path, folder: Path) -> tuple[str, bool]:
    """The URI of what is to be read, the file itself or a copy in ``folder``, and whether nobody
    can change it meanwhile."""
    if any(_sidecar(path, suffix).exists() for suffix in _SIDECARS):
        return f"file:{quote(str(_copy(path, folder)))}", True
    try:
        with path.open("rb") as file:
            header = file.read(20)
    except OSError as error:
        raise ConfigurationError([f"{path} cannot be read: {error.strerror}"]) from error
    if header[:16] != _HEADER:
        raise ConfigurationError([f"{path} is no SQLite database"])
    if header[18:20] == _WAL_MODE:
        # An ordinary reader would make the log anew, and so write beside the file.
        return f"file:{quote(str(path))}?immutable=1", False
    return f"file:{quote(str(path))}?mode=ro", True


def _copy(path: Path, folder: Path) -> Path:
    copy = folder / "copy.db"
    for _ in range(_COPY_ATTEMPTS):
        before = _state(path)
        try:
            shutil.copyfile(path, copy)
            for suffix in _SIDECARS:
                beside = _sidecar(path, suffix)
                if beside.exists():
                    shutil.copyfile(beside, _sidecar(copy, suffix))
        except OSError as error:
            raise ConfigurationError([f"{path} cannot be copied: {error}"]) from error
        if _state(path) == before:
            return copy
    raise ConfigurationError([f"{path} is being written; stop VX11 first, or adopt a backup"])


def _sidecar(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _state(path: Path) -> _State:
    """Marks that change when somebody writes the file."""
    found = {}
    for suffix in ("", *_SIDECARS):
        try:
            seen = os.stat(_sidecar(path, suffix))
        except FileNotFoundError:
            continue
        found[suffix] = (seen.st_size, seen.st_mtime_ns)
    if "" not in found:
        raise ConfigurationError([f"{path} is not there"])
    return found


def _translated(path: Path, error: sqlite3.Error) -> ConfigurationError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return ConfigurationError([f"{path} is being written; stop VX11 first, or adopt a backup"])
    if code == sqlite3.SQLITE_NOTADB:
        return ConfigurationError([f"{path} is no SQLite database"])
    return ConfigurationError([f"{path} cannot be read: {error}"])
