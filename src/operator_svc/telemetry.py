"""The metrics of Operator, each defined once. Names follow Prometheus: base units, ``_total``."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Histogram

_DB_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

DB_QUERY_SECONDS = Histogram(
    "operator_db_query_seconds",
    "Time from a query's start to its rows, waiting for a connection included.",
    ["query"],
    buckets=_DB_BUCKETS,
)
DB_POOL_WAIT_SECONDS = Histogram(
    "operator_db_pool_wait_seconds",
    "Time that a call waited for a database connection to become free; not kept where none.",
    buckets=_DB_BUCKETS,
)


def query_observer(query: str) -> Callable[[float], None]:
    """What takes the duration of each run of ``query`` in seconds; ask once, keep it."""
    return DB_QUERY_SECONDS.labels(query).observe
