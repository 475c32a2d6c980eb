"""Which processes belong to a group, and the cost of a look at those of the machine."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from operator_svc.browser_service.process_memory import group_members

PARENT = "import os, time; os.fork(); os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)"


@asynccontextmanager
async def group() -> AsyncIterator[tuple[asyncio.subprocess.Process, set[int]]]:
    """A process that leads a group, and the ids of itself and its child."""
    pipe = asyncio.subprocess.PIPE
    leader = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=pipe, process_group=0
    )
    assert leader.stdout is not None
    try:
        yield leader, {int(await leader.stdout.readline()) for _ in range(2)}
    finally:
        os.killpg(leader.pid, 9)
        await leader.wait()


async def test_group_has_its_leader_and_what_that_forked_and_no_other_process() -> None:
    async with group() as (first, of_first), group() as (second, of_second):
        found = group_members([first.pid, second.pid, 2**22 + 1])
    assert {leader: set(members) for leader, members in found.items()} == {
        first.pid: of_first, second.pid: of_second, 2**22 + 1: set(),
    }  # fmt: skip


def test_look_at_the_machine_takes_a_part_of_what_reading_a_file_of_each_process_takes() -> None:
    """An open page is looked at ten times a second, beside all processes of the machine."""

    def read() -> None:
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                with suppress(OSError):  # it ended meanwhile
                    (folder / "stat").read_bytes()

    look = min(cpu_seconds(lambda: group_members([os.getpgrp()])) for _ in range(10))
    assert look < min(cpu_seconds(read) for _ in range(10)) / 3


def cpu_seconds(what: Callable[[], object]) -> float:
    began = time.process_time()
    what()
    return time.process_time() - began
