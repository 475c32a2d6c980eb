"""Writes tables into the pages: settings and metrics from the code, figures from results.

``make docs`` runs it; ``--check`` only says whether the pages are as they would be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector, CollectorRegistry

from operator_svc import telemetry
from operator_svc.browser_service.metrics import Metrics
from operator_svc.settings import BrowserSettings, Settings, variables
from operator_svc.settings_checks import allowed_values
from tools import figure_tables

DOCS = Path(__file__).resolve().parents[1] / "docs"
FILE = DOCS / "operations.md"


def settings_table(struct: type[Settings] | type[BrowserSettings]) -> str:
    """The settings of ``struct`` as a Markdown table."""
    rows = ["| name | default | values | meaning |", "| --- | --- | --- | --- |"]
    for variable in variables(struct):
        default = "" if variable.default == "" else f"`{variable.default}`"
        rows.append(
            f"| `{variable.name}` | {default.replace(',', ', ')} | {allowed_values(variable.type)} "
            f"| {variable.meaning} |"
        )
    return "\n".join(rows)


class Family(NamedTuple):
    """A metric as a reader of ``/metrics`` sees it; a counter's series adds ``_total``."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names that queries use."""
        if self.kind == "counter":
            return (f"{self.name}_total",)
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (f"{self.name}_info",) if self.kind == "info" else (self.name,)


def _is_collector(item: object) -> TypeGuard[Collector]:
    registry = isinstance(item, CollectorRegistry | type)
    return not registry and callable(getattr(item, "collect", None))


def families(found: Iterable[object]) -> Iterator[Family]:
    """The metrics among ``found``, those of collectors of our own included."""
    for item in found:
        if isinstance(item, MetricWrapperBase):
            if item._labelvalues:
                continue  # one of a metric's series, kept under a name of its own
            (metric,) = item.describe()
            yield Family(metric.name, metric.type, tuple(item._labelnames), metric.documentation)
        elif _is_collector(item):
            for metric in item.collect():
                labels = tuple(getattr(metric, "_labelnames", ()))
                yield Family(metric.name, metric.type, labels, metric.documentation)


def all_families() -> list[Family]:
    """The metrics of both services."""
    return [*families(vars(telemetry).values()), *families(vars(Metrics()).values())]


def metrics_table(found: Iterable[object]) -> str:
    """The metrics among ``found`` as a Markdown table."""
    rows = ["| name | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for family in families(found):
        name = family.name if family.kind == "histogram" else family.series[0]
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{name}` | {family.kind} | {labels} | {family.meaning} |")
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "settings": lambda: settings_table(Settings),
    "browser-settings": lambda: settings_table(BrowserSettings),
    "metrics": lambda: metrics_table(vars(telemetry).values()),
    "browser-metrics": lambda: metrics_table(vars(Metrics()).values()),
}
"""The name of a table's markers, and what writes it."""


def written(text: str) -> str:
    """``text`` with each table between its markers as it should be."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"{FILE.name} lacks the markers {begin.strip()} and {end}")
        text = f"{head}{begin}{table()}\n{end}{tail}"
    return text


def main() -> int:
    """Write the pages, or check them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check: bool = parser.parse_args().check
    old = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        wanted = figure_tables.written(written(text) if page == FILE else text)
        if text != wanted:
            old.append(f"docs/{page.relative_to(DOCS)}")
            if not check:
                page.write_text(wanted, encoding="utf-8")
    if check and old:
        sys.stderr.write(f"{', '.join(old)}: not up to date: run make docs\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
