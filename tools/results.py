"""The committed results of the benchmarks and of the long tests, as the pages show them."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from bench.results import RESULTS, Figure


class Run(msgspec.Struct):
    """One run of the benchmarks: the machine with its load, and the figures."""

    machine: dict[str, Any]
    quick: bool
    figures: list[Figure]

    @property
    def name(self) -> str:
        """The time at which it began."""
        return time_of(self.machine)

    @property
    def load(self) -> str:
        """The load average when it began, and when it ended where that was kept."""
        ends = self.machine["load_average"], self.machine.get("load_at_end")
        return " to ".join(f"{end:.1f}" for end in ends if end is not None)


def rows_of(kind: str) -> list[dict[str, Any]]:
    """All results of a kind, the oldest first."""
    lines = (RESULTS / f"{kind}.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line) for line in lines]


@functools.cache
def newest() -> dict[str, Run]:
    """The newest run of full rounds that has figures of a part, by part."""
    runs = [msgspec.convert(row, Run) for row in rows_of("bench")]
    return {figure.part: run for run in runs if not run.quick for figure in run.figures}


def value(part: str, name: str) -> float:
    """The newest value of a figure; KeyError where none was measured."""
    for figure in newest()[part].figures:
        if (figure.part, figure.name) == (part, name):
            return figure.value
    raise KeyError(f"{part}: {name}")


def time_of(machine: dict[str, Any]) -> str:
    """The time at which a machine was looked at, to the minute."""
    return str(machine["time"])[:16].replace("T", " ")
