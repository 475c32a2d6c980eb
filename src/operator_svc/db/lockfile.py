"""A lock on a file that ends with its holder, however that dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from operator_svc.db.contract import unavailable
from operator_svc.errors import ConfigurationError

_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE)
"""Errors of a file system that may be gone when it is tried again."""


def lock_path(database: Path) -> Path:
    """The lock file of an SQLite database: one, by whichever symbolic links it is reached."""
    return Path(f"{os.path.realpath(database)}.lock")


def private_file(path: Path) -> None:
    """Make the file if it is missing, readable by its owner alone; SQLite gives its WAL the
    same mode.

    Raises ConfigurationError for a file with several hard links: SQLite keeps a log beside each
    name, and two of them destroy the database (https://sqlite.org/howtocorrupt.html, 2.5). Raises
    as ``check_usable``.
    """
    check_usable(path)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    links = os.fstat(fd).st_nlink
    os.close(fd)
    if links > 1:
        raise ConfigurationError([f"{path} has {links} hard links; a database must have one"])


def check_usable(path: Path) -> None:
    """Check that an SQLite database can stand at ``path``, and make nothing.

    SQLite writes the file, and a log beside it. Raises ConfigurationError where permissions or
    the kind of a file do not allow that.
    """
    path = Path(os.path.realpath(path))
    folder = path.parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise _unusable(folder, OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unusable(folder, OSError(errno.EACCES, os.strerror(errno.EACCES)))
    for file in (path, lock_path(path)):
        if os.path.isdir(file):
            raise _unusable(file, OSError(errno.EISDIR, os.strerror(errno.EISDIR)))
        if os.path.exists(file) and not os.access(file, os.R_OK | os.W_OK):
            raise _unusable(file, OSError(errno.EACCES, os.strerror(errno.EACCES)))


def _unusable(path: Path, error: OSError) -> Exception:
    """The error of a place that cannot hold the database, by whether that may pass."""
    said = f"{path} cannot be used for the database: {error.strerror}"
    return unavailable(said) if error.errno in _PASSING else ConfigurationError([said])


class FileLock:
    """An exclusive ``flock``. The file stays when the lock goes: removing it would race."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def acquire(self, wait: float = 0.0) -> None:
        """Take the lock, waiting up to ``wait`` seconds (blocking the thread).

        Raises ConfigurationError where another has it, or the folder cannot be written, and
        OperatorError(DATABASE_UNAVAILABLE) where its disk is full or fails.
        """
        deadline = time.monotonic() + wait
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self._path.parent, error) from error
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                holder = os.read(fd, 32).decode(errors="replace").strip()
                os.close(fd)
                raise ConfigurationError([_taken(self._path, holder)]) from None
            self._fd = fd
            os.truncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            return

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _taken(path: Path, holder: str) -> str:
    database = path.with_suffix("")
    by = f" (process {holder})" if holder else ""
    return f"{database} is in use by another process{by}; SQLite serves one, PostgreSQL many"
