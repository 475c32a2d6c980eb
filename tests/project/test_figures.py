"""The figures in the pages are those of the newest results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.__main__ import LONG, PARTS
from bench.parts_pods import asked_more
from tools import figure_tables, scaling_tables
from tools import results as committed

DOCS = Path(__file__).parents[2] / "docs"
MACHINE = {
    "cpu": "Abacus", "cores": 2, "kernel": "6.1-x", "python": "3.11.7", "libraries": {"uvloop": "1"}
}  # fmt: skip


def row(day: int, part: str, value: float, *, quick: bool = False, **more: object) -> bytes:
    end = {"load_at_end": 3.25} if day == 4 else {}
    figure = {"part": part, "name": "cost of a chat", "value": value, "unit": "ms", **more}
    machine = {**MACHINE, "time": f"2026-01-0{day}T10:00:59+00:00", "load_average": day / 2, **end}
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
        "| **`memory`**: 2026-01-04 10:00, load 2.0 to 3.2 | | | | |",
        "| cost of a chat | 3 ms |  | ≥ 2.5 ms | met |",
        "| **`other`**: not measured | | | | |",
        "<!-- /figures -->",
        "B",
    ]
    assert figure_tables.written(written) == written


def test_the_goals_are_the_figures_that_have_one(results: Path) -> None:
    results.write_bytes(
        b"\n".join([row(1, "chats", 9.0), row(2, "memory", 3.0, target=2.5, best="high")])
    )

    written = figure_tables.written("<!-- goals: chats memory other -->\n<!-- /goals -->")

    assert written.splitlines()[3:-1] == ["| `memory` | cost of a chat | 3 ms | ≥ 2.5 ms | met |"]


def test_the_runs_are_those_whose_figures_are_shown(results: Path) -> None:
    results.write_bytes(b"\n".join([row(1, "chats", 9.0), row(2, "chats", 8.0)]))

    written = figure_tables.written("<!-- runs -->\n<!-- /runs -->")

    assert written.splitlines()[3:-1] == [
        "| 2026-01-02 10:00 | 1.0 | 2 cores, Abacus, Linux 6.1 | Python 3.11.7, uvloop 1 |"
    ]


def test_the_model_of_scaling_follows_from_its_inputs() -> None:
    cost = {
        "chat": 0.99, "chat_database": 1.2, "token": 41.0, "start": 55.0, "socket": 21.5,
        "queries": 12.0, "unheard": 4.0, "heard": 14.0, "server": 1.1, "log": 70.0,
        "log_nats": 27.0, "notification": 10.0, "commits_borne": 1000.0, "log_borne": 100.0,
        "watched": 5.0,
    }  # fmt: skip
    assert cost.keys() == scaling_tables.INPUTS.keys()

    needs = scaling_tables.needs(1_000_000, cost)

    assert list(needs.values()) == [
        "3,300", "27,000", "1,300,000", "63 cores", "130", "21 GiB", "6.8 GiB",
        "4 cores", "5 cores", "1.6 cores", "6,900", "1,500", "230 MiB/s", "88 MiB/s",
        "CPU 9, commits 6.9, log 0.88", "1.5 cores", "13,000", "0.13 cores",
    ]  # fmt: skip
    few = scaling_tables.needs(10_000, cost)
    least = "processes (one core each, half loaded; 10,000 sockets at most)"
    assert few[least] == "2"


def test_the_page_on_performance_shows_every_part_of_the_bench() -> None:
    marks = figure_tables.MARKERS.finditer((DOCS / "performance.md").read_text())
    asked = [
        (kind, set((parts or "").split())) for _, kind, parts, _ in map(re.Match.groups, marks)
    ]
    shown = set().union(*(parts for kind, parts in asked if kind == "figures"))
    parts = set(PARTS | LONG)
    by_engine = {f"{part}-{engine}" for part in parts for engine in ("sqlite", "postgresql")}
    assert shown <= parts | by_engine
    assert parts - shown == {part for part in parts if f"{part}-sqlite" in shown}
    for kind, named in asked:
        if kind == "goals":
            assert named <= shown


@pytest.mark.parametrize("name", ["performance", "scaling"])
def test_no_figure_of_a_page_is_typed(name: str) -> None:
    prose = figure_tables.MARKERS.sub("", (DOCS / f"{name}.md").read_text())
    assert re.findall(r"^\|.*", prose, re.MULTILINE) == []
    # Limits of a search, and settings, are no measurements.
    settings = {"50 ms", "100 ms", "1 s", "0.1 s"}
    quantities = re.findall(r"\d[\d.,]* (?:m?s|µs|[KMG]iB|%|times)\b", prose)
    assert set(quantities) <= settings
    versions_and_sizes = {"3.40", "3.53", "2.5"}
    assert set(re.findall(r"\b\d+\.\d+\b", prose)) - {"0.1"} <= versions_and_sizes


def test_the_assumptions_of_the_model_are_those_of_the_page() -> None:
    page = " ".join((DOCS / "scaling.md").read_text().split())
    assert scaling_tables.SECONDS_A_CHAT == 5 * 60
    assert "sends a message every five minutes" in page
    said = f"{scaling_tables.TOKENS_A_REPLY} tokens, {scaling_tables.TOKENS_A_SECOND} a second"
    assert said in page
    assert scaling_tables.LOAD == 0.5
    assert "loaded to a half" in page


def test_queries_at_intervals_are_no_more_where_they_fall_into_a_time_once_more() -> None:
    before = {"sweep": 0.2, "poll": 1.0}
    assert asked_more(before, {"sweep": 0.4, "poll": 0.8}, 5.0) == pytest.approx(0)
    assert asked_more(before, {"sweep": 0.2, "poll": 2.0, "new": 1.0}, 5.0) == pytest.approx(1.6)
