"""Migrations of databases that others hold, that do not answer, or that cannot be made."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from operator_svc.db import Database, migrations_yoyo
from operator_svc.db.locations import locate
from operator_svc.db.lockfile import FileLock, private_file
from operator_svc.db.migrations import ensure, migrate
from operator_svc.errors import ConfigurationError, ErrorCode, OperatorError
from operator_svc.settings import Settings


async def test_a_server_that_has_the_file_keeps_it(
    sqlite_database: Database, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations_yoyo, "FILE_LOCK_SECONDS", 0.2)
    with pytest.raises(ConfigurationError, match="in use by another process"):
        migrate(sqlite_url)
    await sqlite_database.ping()


async def test_one_who_migrates_waits_for_the_file(sqlite_url: str) -> None:
    path = locate(sqlite_url).path
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    lock.acquire()
    waiting = asyncio.create_task(asyncio.to_thread(migrate, sqlite_url))
    await asyncio.sleep(0.3)  # time in which it would migrate
    assert not waiting.done()
    lock.release()
    assert await waiting == []


async def test_a_database_that_does_not_answer_is_a_temporary_error(tmp_path: Path) -> None:
    url = f"postgresql://postgres@/x?host={tmp_path}"
    with pytest.raises(OperatorError) as caught:
        migrate(url)
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    with pytest.raises(OperatorError):
        await ensure(Settings(database_url=url))


@pytest.mark.parametrize(
    ("number", "passes"), [(errno.ENOSPC, True), (errno.EIO, True), (errno.EROFS, False)]
)
def test_a_file_that_cannot_be_made_tells_what_may_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, passes: bool
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OperatorError if passes else ConfigurationError, match=os.strerror(number)):
        private_file(tmp_path / "operator.db")


@pytest.mark.parametrize("url", ["postgresql://x@127.0.0.1:99999/y", "postgresql://x@a:b/y"])
async def test_a_port_that_is_none_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="PostgreSQL: "):
        await ensure(Settings(database_url=url))
