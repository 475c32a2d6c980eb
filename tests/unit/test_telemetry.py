"""The metrics: what the quick ways of changing them come to is what the library would say."""

from __future__ import annotations

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from operator_svc import telemetry

BOUNDS = (0.1, 1.0, 10.0)
SEEN = (0.0, 0.05, 0.1, 0.100001, 1.0, 9.9, 10.0, 11.0, -1.0, float("inf"))


@pytest.mark.parametrize("labels", [(), ("one",)])
def test_they_say_what_the_library_says(labels: tuple[str, ...]) -> None:
    said = []
    for kinds in (telemetry, prometheus_client):
        registry = CollectorRegistry()
        names = ["name"] if labels else []
        counter = kinds.Counter("a_total", "A.", names, registry=registry)
        gauge = kinds.Gauge("b", "B.", names, registry=registry)
        histogram = kinds.Histogram("c", "C.", names, buckets=BOUNDS, registry=registry)
        if labels:
            counter, gauge = counter.labels(*labels), gauge.labels(*labels)
            histogram = histogram.labels(*labels)
        counter.inc()
        counter.inc(2.5)
        gauge.inc()
        gauge.inc(4)
        gauge.dec(2)
        for value in SEEN:
            histogram.observe(value)
        text = generate_latest(registry).decode()
        said.append([line for line in text.splitlines() if "_created" not in line])
    assert said[0] == said[1]
    assert any(line.startswith("c_bucket") for line in said[0])
