"""Checks that the files of an open SQLite database still exist and can be written."""

from __future__ import annotations

import os
from pathlib import Path

from operator_svc.db.contract import unavailable

MIN_FREE = 1024 * 1024
"""Bytes that the disk must have left. A write that fits into the log's old pages still succeeds on
a full disk; the next one that does not would fail."""


class DatabaseFiles:
    """The database, its write-ahead log and the log's index, as they are when it is opened.

    All three exist while a connection is open, and SQLite never replaces them meanwhile. When
    somebody else does, SQLite goes on with files that have no name any more.
    """

    def __init__(self, path: Path) -> None:
        path = Path(os.path.realpath(path))
        self._folder = path.parent
        names = (path, Path(f"{path}-wal"), Path(f"{path}-shm"))
        self._opened = {name: _identity(name) for name in names}

    def check(self) -> None:
        """Raise OperatorError (database_unavailable) where a file was removed or replaced, or the
        disk is full. Blocks on the disk."""
        for name, identity in self._opened.items():
            if _identity(name) != identity:
                raise unavailable(f"the database's file {name.name} was removed or replaced")
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < MIN_FREE:
            raise unavailable("the database's disk is full")


def _identity(name: Path) -> tuple[int, int] | None:
    """The device and inode behind a name; None where there is nothing."""
    try:
        found = name.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
