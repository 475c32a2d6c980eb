"""The figures in the pages are those of the newest results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tools import figure_tables
from tools import results as committed

PERFORMANCE = Path(__file__).parents[2] / "docs" / "performance.md"
MACHINE = {
    "cpu": "Abacus", "cores": 2, "kernel": "6.1-x", "python": "3.11.7", "libraries": {"uvloop": "1"}
}  # fmt: skip


def row(day: int, part: str, value: float, *, quick: bool = False, **more: object) -> bytes:
    figure = {"part": part, "name": "cost of a chat", "value": value, "unit": "ms", **more}
    machine = {**MACHINE, "time": f"2026-01-0{day}T10:00:59+00:00", "load_average": day / 2}
    return msgspec.json.encode({"machine": machine, "quick": quick, "figures": [figure]})


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(committed, "RESULTS", tmp_path)
    committed.newest.cache_clear()
    yield tmp_path / "bench.jsonl"
    committed.newest.cache_clear()


def test_a_table_has_the_newest_full_run_of_each_part(results: Path) -> None:
    results.write_bytes(
        b"\n".join(
            [
                row(1, "chats", 9.0),
                row(2, "chats", 1234.5, target=0.5, spread=[0.12345, 2000.4]),
                row(3, "chats", 7.0, quick=True),
                row(4, "memory", 3.0, target=2.5, best="high"),
            ]
        )
    )
    page = "A\n<!-- figures: chats memory other -->\nold\n<!-- /figures -->\nB\n"

    written = figure_tables.written(page)

    assert written.splitlines() == [
        "A",
        "<!-- figures: chats memory other -->",
        "| figure | measured | lowest to highest | goal | |",
        "| --- | --- | --- | --- | --- |",
        "| **`chats`**: 2026-01-02 10:00, load 1.0 | | | | |",
        "| cost of a chat | 1,234 ms | 0.123 to 2,000 | ≤ 0.5 ms | **missed** |",
        "| **`memory`**: 2026-01-04 10:00, load 2.0 | | | | |",
        "| cost of a chat | 3 ms |  | ≥ 2.5 ms | met |",
        "| **`other`**: not measured | | | | |",
        "<!-- /figures -->",
        "B",
    ]
    assert figure_tables.written(written) == written


def test_the_runs_are_those_whose_figures_are_shown(results: Path) -> None:
    results.write_bytes(b"\n".join([row(1, "chats", 9.0), row(2, "chats", 8.0)]))

    written = figure_tables.written("<!-- runs -->\n<!-- /runs -->")

    assert written.splitlines()[3:-1] == [
        "| 2026-01-02 10:00 | 1.0 | 2 cores, Abacus, Linux 6.1 | Python 3.11.7, uvloop 1 |"
    ]


def test_no_figure_of_the_page_on_performance_is_typed() -> None:
    prose = figure_tables.MARKERS.sub("", PERFORMANCE.read_text())
    assert re.findall(r"^\|.*", prose, re.MULTILINE) == []
    # The units of what is measured; "50 ms" is a limit of a search.
    quantities = re.findall(r"\d[\d.,]* (?:ms|µs|[KMG]iB|%|times)", prose)
    assert set(quantities) <= {"50 ms", "100 ms"}
