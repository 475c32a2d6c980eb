"""Alerts and dashboard name metrics that exist, with labels and values that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from operator_svc import telemetry
from operator_svc.models import ReplyStatus
from operator_svc.peers.breaker import State
from tools import docs_tables

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OPERATIONS = ROOT / "docs" / "operations.md"

FOREIGN = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Metrics of Prometheus and of its Python client."""

TARGET_LABELS = {"job", "namespace", "pod", "le"}
"""Labels that Prometheus adds."""

WORDS = {"sum", "rate", "by", "increase", "histogram_quantile", "topk", "on", "ignoring"}
"""Of the query language, as far as it is used here."""

KNOWN_VALUES = {
    ("operator_replies", "status"): {str(status) for status in ReplyStatus},
    ("operator_breaker_state", "state"): set(get_args(State)),
}


def metrics() -> dict[str, Any]:
    """Every metric by its name without suffix."""
    return {family.name: family for family in docs_tables.all_families()}


def series() -> dict[str, str]:
    """Every name of a time series, and the metric that it belongs to."""
    return {name: family.name for family in metrics().values() for name in family.series}


def alerts() -> list[dict[str, Any]]:
    return [
        rule
        for file in KUBERNETES.rglob("prometheusrule.yaml")
        for group in yaml.safe_load(file.read_text())["spec"]["groups"]
        for rule in group["rules"]
    ]


def dashboard() -> dict[str, Any]:
    shown: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "operator.json").read_text())
    return shown


def expressions() -> list[str]:
    shown = [
        target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])
    ]
    return [rule["expr"] for rule in alerts()] + shown


def test_the_dashboard_shows_the_namespaces_and_pods_that_are_chosen() -> None:
    variables = {entry["name"]: entry for entry in dashboard()["templating"]["list"]}
    for name in ("namespace", "pod"):
        # A service without Kubernetes has no such labels: all of them must match it, too.
        assert (variables[name]["includeAll"], variables[name]["allValue"]) == (True, ".*")
        named = set(re.findall(r"operator_\w+", variables[name]["definition"]))
        assert named <= series().keys()
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            selectors = re.findall(r"\b(?:operator|process)_\w+(\{[^}]*\})?", target["expr"])
            assert selectors
            for selector in selectors:
                assert 'namespace=~"$namespace"' in selector, target["expr"]
                assert 'pod=~"$pod"' in selector, target["expr"]


@pytest.mark.parametrize("expression", expressions())
def test_what_an_expression_names_exists(expression: str) -> None:
    known, labels_of = series(), metrics()
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    labels = set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*", re.sub(r"\s==\s", " ", bare)))
    for group in re.findall(r"by \(([^)]*)\)", bare):
        labels |= {label.strip() for label in group.split(",")}
    named = set(re.findall(r"[a-zA-Z_]\w*", bare)) - WORDS - labels
    assert named
    assert named <= known.keys() | FOREIGN
    if named <= FOREIGN:
        assert labels <= TARGET_LABELS
    for name in named - FOREIGN:
        metric = known[name]
        assert labels - TARGET_LABELS <= set(labels_of[metric].labels)
        for label, value in re.findall(r'(\w+)="([^"]*)"', expression):
            values = KNOWN_VALUES.get((metric, label))
            assert values is None or value in values


def test_every_metric_is_set_somewhere() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src" / "operator_svc").rglob("*.py"))
    names = {n for n, metric in vars(telemetry).items() if isinstance(metric, MetricWrapperBase)}
    assert len(names) > 20
    assert [name for name in sorted(names) if len(re.findall(rf"\b{name}\b", source)) < 2] == []


def test_every_metric_has_our_prefix() -> None:
    assert all(name.startswith("operator_") for name in metrics())


def test_every_alert_has_its_runbook() -> None:
    headings = re.findall(r"^### (\w+)$", OPERATIONS.read_text(), re.MULTILINE)
    runbooks = {heading for heading in headings if heading.startswith("Operator")}
    assert runbooks == {rule["alert"] for rule in alerts()}
    for rule in alerts():
        where, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert ROOT / where == OPERATIONS
        assert anchor == rule["alert"].lower()
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_no_label_can_be_an_id() -> None:
    for name, metric in metrics().items():
        assert not any(label.endswith("id") for label in metric.labels), name
