"""The memory limit of the shipped manifests, put on a process as a cluster would."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "kubernetes" / "base"
CGROUPS = Path("/sys/fs/cgroup")


class Confinement(NamedTuple):
    """A command that runs a process confined, and the kind of its limit."""

    under: tuple[str, ...]
    kind: str


def shipped_settings() -> dict[str, str]:
    """Settings that the manifests give a pod of Operator."""
    data: dict[str, str] = yaml.safe_load((BASE / "configmap.yaml").read_text())["data"]
    return data


def shipped_memory() -> int:
    """Bytes that the manifests let a pod of Operator use."""
    text = (BASE / "deployment.yaml").read_text()
    (container,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
    limit = re.fullmatch(r"(\d+)Mi", container["resources"]["limits"]["memory"])
    assert limit is not None
    return int(limit[1]) * 2**20


@contextmanager
def confined(memory: int) -> Iterator[Confinement]:
    """A control group of ``memory`` bytes, whose processes the kernel kills beyond.

    Where no control group can be made, as in a container without that right, the limit is put on
    the process's data (RLIMIT_DATA): then it fails to allocate instead.
    """
    for parent, limit in _controllers():
        folder = parent / f"operator-attack-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / limit).write_text(str(memory))
        except OSError:
            folder.rmdir()
            continue
        join = f'echo $$ > {folder}/cgroup.procs && exec "$0" "$@"'
        try:
            yield Confinement(("sh", "-c", join), f"cgroup, {limit}")
        finally:
            folder.rmdir()
        return
    yield Confinement(("prlimit", f"--data={memory}"), "RLIMIT_DATA")


def _controllers() -> Iterator[tuple[Path, str]]:
    """Groups of this process that may have one below them, and the file of the limit."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield CGROUPS / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
        elif not controllers:
            yield CGROUPS / path.lstrip("/"), "memory.max"


@contextmanager
def without_a_core() -> Iterator[int | None]:
    """A core that this process and what it starts leave alone; None where there is only one.

    What has machines of its own in a cluster would take the pod's processor here.
    """
    cores = os.sched_getaffinity(0)
    if len(cores) == 1:
        yield None
        return
    core = min(cores)
    os.sched_setaffinity(0, cores - {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, cores)


def processor_seconds(pid: int) -> float:
    """Seconds of a processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def peak_memory(pid: int) -> int:
    """The most resident bytes that a process has had."""
    text = await asyncio.to_thread(Path(f"/proc/{pid}/status").read_text)
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) * 1024
