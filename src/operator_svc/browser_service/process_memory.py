"""Memory of processes, as Linux reports it in ``/proc``."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_FIELDS = (b"RssAnon:", b"RssShmem:")
"""A process's own memory and its shared memory, in KiB; pages of files, such as its program, can
be dropped by the kernel and are shared by all processes of Chromium."""


def group_members(groups: Iterable[int]) -> dict[int, list[int]]:
    """Return the process ids of each process group."""
    members: dict[int, list[int]] = {group: [] for group in groups}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(ProcessLookupError):  # it ended meanwhile
                # A system call: to read a file of each process takes thirty times as long.
                group = os.getpgid(int(entry))
                if group in members:
                    members[group].append(int(entry))
    return members


def memory_of(processes: Iterable[int]) -> int:
    """Return the bytes that these processes use together; those that ended use none."""
    total = 0
    for process in processes:
        try:
            status = Path("/proc", str(process), "status").read_bytes()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith(_FIELDS):
                total += int(line.split()[1]) * 1024
    return total


def parent_of(process: int) -> int:
    """Return the process id of the parent; raises OSError where the process has ended."""
    return int(Path("/proc", str(process), "stat").read_bytes().rpartition(b")")[2].split()[1])


def limit_data(processes: Iterable[int], size: int) -> None:
    """Limit the private writable memory of each process; a process that is forked by one of them
    from now on inherits the limit."""
    for process in processes:
        with suppress(ProcessLookupError):
            resource.prlimit(process, resource.RLIMIT_DATA, (size, size))
