"""Tables of figures for the pages, from the committed results of the benchmarks.

A page names between its markers what a table shows, and ``make docs`` writes it::

    <!-- figures: chat-sqlite latency -->
    <!-- /figures -->

Of each part of ``make bench``, the figures are those of its newest run of full rounds.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from bench.results import Figure, short
from tools.results import newest, rows_of, time_of
from tools.scaling_tables import PEOPLE, inputs, model

MARKERS = re.compile(
    r"(<!-- (figures|goals|runs|deaths|attack|inputs|model)(?:: (.+?))? -->\n).*?(<!-- /\2 -->)",
    re.S,
)
HEADS = {
    "figures": "| figure | measured | lowest to highest | goal | |\n" + "| --- " * 5 + "|",
    "goals": "| part | figure | measured | goal | |\n" + "| --- " * 5 + "|",
    "runs": "| run (UTC) | load, to its end | machine | versions |\n" + "| --- " * 4 + "|",
    "deaths": "| run (UTC) | load | what | result |\n" + "| --- " * 4 + "|",
    "attack": "| | SQLite | PostgreSQL |\n" + "| --- " * 3 + "|",
    "inputs": "| input | measured | run (UTC) | command |\n" + "| --- " * 4 + "|",
    "model": f"| people online | {' | '.join(PEOPLE)} |\n" + "| --- " * 4 + "|",
}


def _quantity(number: float, unit: str) -> str:
    return f"{short(number)} {unit}".strip().replace(" /s", "/s")


def _goal(figure: Figure) -> str:
    """The columns of its goal and of what came of it."""
    if figure.target is None:
        return "| | |"
    sign = "≤" if figure.best == "low" else "≥"
    met = "met" if figure.met else "**missed**"
    return f"| {sign} {_quantity(figure.target, figure.unit)} | {met} |"


def _figure_row(figure: Figure) -> str:
    spread = " to ".join(short(end) for end in figure.spread) if figure.spread else ""
    return f"| {figure.name} | {_quantity(figure.value, figure.unit)} | {spread} {_goal(figure)}"


def figures(parts: Iterable[str]) -> Iterable[str]:
    """The figures of some parts, each below the run in which they were measured."""
    for part in parts:
        run = newest().get(part)
        when = f"{run.name}, load {run.load}" if run else "not measured"
        yield f"| **`{part}`**: {when} | | | | |"
        for figure in run.figures if run else ():
            if figure.part == part:
                yield _figure_row(figure)


def goals(parts: Iterable[str]) -> Iterable[str]:
    """The figures of some parts that have a goal."""
    for part in parts:
        for figure in newest()[part].figures if part in newest() else ():
            if figure.part == part and figure.target is not None:
                measured = _quantity(figure.value, figure.unit)
                yield f"| `{part}` | {figure.name} | {measured} {_goal(figure)}"


def runs(_: Iterable[str]) -> Iterable[str]:
    """The runs whose figures the pages show."""
    for name, run in sorted({run.name: run for run in newest().values()}.items()):
        about = run.machine
        versions = {"Python": about["python"], **about["libraries"]}
        yield (
            f"| {name} | {run.load} | {about['cores']} cores, {about['cpu']}, "
            f"Linux {about['kernel'].partition('-')[0]} | "
            f"{', '.join(f'{library} {number}' for library, number in versions.items())} |"
        )


def deaths(_: Iterable[str]) -> Iterable[str]:
    """Processes that were killed, and connections for notifications that were cut."""
    for row in rows_of("deaths"):
        load = " to ".join(f"{end:.0f}" for end in row.get("load_during", ()))
        load = load or f"{row['machine']['load_average']:.0f}"
        if "deaths" in row:
            seconds = row["seconds"]
            late = sum(second > 3.0 for second in seconds)
            what = f"{row['deaths']} processes killed with SIGKILL: `interrupted` after"
            said = f"median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s; "
            said += f"{late or 'none'} after more than 3 s"
        else:
            what = f"{row['cuts']} cuts of the connection for notifications: lost leases"
            said = f"{row['leases_lost']:.0f}"
        note = f" ({row['note']})" if "note" in row else ""
        yield f"| {time_of(row['machine'])} | {load} | {what}{note} | {said} |"


def attack(_: Iterable[str]) -> Iterable[str]:
    """Service of a pod under attack to an honest client, in the newest run on each engine."""
    both = {row["engine"]: row for row in rows_of("attack") if row["seconds"] >= 600}
    pods = both["sqlite"], both["postgresql"]
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "run (UTC)": lambda row: time_of(row["machine"]),
        "most memory in use": lambda row: f"{row['peak_mib']} of {row['limit_mib']} MiB",
        "chats: failed, of all": lambda row: f"{sum(row['failures'].values())} of {row['chats']:,}",
        "chats: median, 99th percentile": lambda row: (
            f"{row['chat_p50_ms']:.0f} ms, {row['chat_p99_ms']:.0f} ms"
        ),
        "probes of the admin port: 99th percentile, slowest": lambda row: (
            f"{row['probe_p99_ms']:.0f} ms, {row['probe_max_ms']:.0f} ms (of {row['probes']:,})"
        ),
        "probes of the main port: 99th percentile, slowest": lambda row: (
            f"{row['main_probe_p99_ms']:.0f} ms, {row['main_probe_max_ms']:.0f} ms"
        ),
    }
    for name, say in lines.items():
        yield f"| {name} | {say(pods[0])} | {say(pods[1])} |"


_WRITERS: dict[str, Callable[[Iterable[str]], Iterable[str]]] = {
    "figures": figures,
    "goals": goals,
    "runs": runs,
    "deaths": deaths,
    "attack": attack,
    "inputs": lambda _: inputs(),
    "model": lambda _: model(),
}


def written(text: str) -> str:
    """``text`` with each table between its markers as the results have it."""

    def table(found: re.Match[str]) -> str:
        begin, kind, asked, end = found.groups()
        return "\n".join([begin + HEADS[kind], *_WRITERS[kind]((asked or "").split()), end])

    return MARKERS.sub(table, text)
