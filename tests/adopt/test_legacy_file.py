"""The legacy file is never written, whatever state it is in, and what is none is refused."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from operator_svc.adopt import id_map, legacy_file
from operator_svc.adopt.legacy_file import open_legacy
from operator_svc.errors import ConfigurationError
from operator_svc.models import Message
from tests.adopt.conftest import LegacyFile, Target


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All files of a folder, with their times."""
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def contents(path: Path, **options: float) -> list[str]:
    with open_legacy(path, **options) as legacy:
        return [row[0] for b in legacy.batches("operator_message", ("content", "id")) for row in b]


@pytest.fixture
def alone(tmp_path: Path) -> LegacyFile:
    """A legacy database in a folder of its own."""
    (tmp_path / "vx11").mkdir()
    legacy = LegacyFile(tmp_path / "vx11" / "vx11.db")
    legacy.session("abc")
    legacy.messages("abc", "hello")
    return legacy


async def test_legacy_file_that_is_adopted_is_not_written(
    alone: LegacyFile, target: Target
) -> None:
    before = state(alone.path.parent)
    await target.adopt(alone, dry_run=True)
    await target.adopt(alone)
    assert state(alone.path.parent) == before


async def test_rows_in_a_write_ahead_log_are_read(alone: LegacyFile, target: Target) -> None:
    writer = sqlite3.connect(alone.path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO operator_message (session_id, role, content) VALUES"
                   " ('abc', 'user', 'in the log')")  # fmt: skip
    writer.commit()
    before = state(alone.path.parent)
    assert "vx11.db-wal" in before
    await target.adopt(alone)
    assert state(alone.path.parent) == before
    writer.close()
    assert [m.content for m in await target.rows(Message)] == ["hello", "in the log"]


def test_file_in_wal_mode_without_its_log_is_read(alone: LegacyFile) -> None:
    alone.run("PRAGMA journal_mode = WAL")
    before = state(alone.path.parent)
    assert list(before) == ["vx11.db"]
    assert contents(alone.path) == ["hello"]
    assert state(alone.path.parent) == before


def test_journal_left_by_a_crash_is_rolled_back_in_a_copy(
    alone: LegacyFile, tmp_path: Path
) -> None:
    writer = sqlite3.connect(alone.path, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN")
    writer.execute("UPDATE operator_message SET content = 'half done'")
    for _ in range(300):  # more than the cache holds, so the file itself is changed
        writer.execute("INSERT INTO madre_actions (what) VALUES (hex(randomblob(2000)))")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("vx11.db", "vx11.db-journal"):
        (crashed / name).write_bytes((alone.path.parent / name).read_bytes())
    writer.close()
    before = state(crashed)
    assert contents(crashed / "vx11.db") == ["hello"]
    assert state(crashed) == before


def test_file_name_with_url_characters_is_opened(alone: LegacyFile) -> None:
    odd = alone.path.with_name("a b%20?mode=rwc#c.db")
    alone.path.rename(odd)
    assert contents(odd) == ["hello"]
    assert [path.name for path in odd.parent.iterdir()] == [odd.name]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "no SQLite database"), (b"hello" * 1000, "no SQLite database"),
     (b"SQLite format 3\0" + b"\xff" * 5000, "")],
)  # fmt: skip
def test_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "nonsense.db"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        contents(path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)
    assert path.read_bytes() == content


def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    other = LegacyFile(tmp_path / "other.db", "CREATE TABLE madre_actions (id INTEGER)")
    with pytest.raises(ConfigurationError, match="none of the tables"):
        contents(other.path)


async def test_database_of_this_service_is_refused(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with pytest.raises(ConfigurationError, match="of this Operator"):
        contents(path)


def test_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not there"):
        contents(tmp_path / "none.db")


async def test_damaged_file_brings_nothing(alone: LegacyFile, target: Target) -> None:
    alone.messages("abc", *("x" * 3000 for _ in range(60)))
    data = bytearray(alone.path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096 * 8] = os.urandom(4096 * 8)
    alone.path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"vx11\.db cannot be read"):
        await target.adopt(alone)
    for table in ("operator_session", "operator_message", "operator_adopted"):
        assert await target.count(table) == 0


def test_file_that_is_being_written_is_refused(alone: LegacyFile) -> None:
    writer = sqlite3.connect(alone.path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = MEMORY")  # with a journal file it is read from a copy
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ConfigurationError, match="stop VX11 first"):
        contents(alone.path, busy_seconds=0.05)
    writer.close()


async def test_file_written_while_it_is_read_brings_nothing(
    alone: LegacyFile, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.run("PRAGMA journal_mode = WAL")
    batches = legacy_file.LegacyDatabase.batches

    def changed(self: legacy_file.LegacyDatabase, *args: object) -> object:
        os.utime(alone.path)
        return batches(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(legacy_file.LegacyDatabase, "batches", changed)
    with pytest.raises(ConfigurationError, match="changed while it was read"):
        await target.adopt(alone)
    assert await target.count("operator_message") == 0


async def test_a_full_temporary_folder_is_named_and_brings_nothing(
    alone: LegacyFile, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_map, "_SCHEMA", (*id_map._SCHEMA, "PRAGMA max_page_count = 1"))
    alone.messages("abc", *"x" * 1000)
    with pytest.raises(ConfigurationError, match="no temporary file can be written"):
        await target.adopt(alone)
    assert await target.count("operator_session") == 0


def test_temporary_copy_is_deleted(
    alone: LegacyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    alone.path.with_name("vx11.db-wal").touch()
    assert contents(alone.path) == ["hello"]
    assert list(temporary.iterdir()) == []
