"""The metrics of Operator, each defined once. Names follow Prometheus: base units, ``_total``.

Only the event loop's thread changes them, and others may read: the library's own way, with a lock
and several checks for each, took a twentieth of a chat.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate

import prometheus_client
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from operator_svc import __version__
from operator_svc.models import JWT_PREFIX


class Counter(prometheus_client.Counter):
    """A counter that one thread changes."""

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """See the base; exemplars are not kept."""
        self._value._value += amount


class Gauge(prometheus_client.Gauge):
    """A gauge that one thread changes."""

    def inc(self, amount: float = 1) -> None:
        """See the base."""
        self._value._value += amount

    def dec(self, amount: float = 1) -> None:
        """See the base."""
        self._value._value -= amount


class Histogram(prometheus_client.Histogram):
    """A histogram that one thread changes."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """See the base; exemplars are not kept."""
        self._sum._value += amount
        self._buckets[bisect_left(self._upper_bounds, amount)]._value += 1


_DB_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

DB_QUERY_SECONDS = Histogram(
    "operator_db_query_seconds",
    "Query time until the last row, including the wait for a connection.",
    ["query"],
    buckets=_DB_BUCKETS,
)
DB_POOL_WAIT_SECONDS = Histogram(
    "operator_db_pool_wait_seconds",
    "Wait for a free database connection; only waits are recorded.",
    buckets=_DB_BUCKETS,
)


READS = Counter(
    "operator_reads_total",
    "Reads that the standby may answer, by the server that did; `reason`: why the primary.",
    ["source", "reason"],
)
BUILD_INFO = Gauge(
    "operator_build_info", "Always 1; the labels name the versions in use.", ["version", "python"]
)
BUILD_INFO.labels(__version__, platform.python_version()).set(1)
EVENT_LOOP_LAG_SECONDS = Histogram(
    "operator_event_loop_lag_seconds",
    "Delay of the event loop, measured with a timer four times per second.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
BREAKER_STATE = Gauge(
    "operator_breaker_state",
    "1 for the current state of a peer's circuit breaker, 0 for its other states.",
    ["peer", "state"],
)


class QueryTimes:
    """Observes the durations of one query. Its series begin with its first run: a process runs
    some of its queries only, and the buckets of all would take half a MiB."""

    __slots__ = ("_histogram", "_query")

    def __init__(self, query: str) -> None:
        self._query = query
        self._histogram: prometheus_client.Histogram | None = None

    def observe(self, seconds: float) -> None:
        """Note the duration of a run."""
        histogram = self._histogram
        if histogram is None:
            histogram = self._histogram = DB_QUERY_SECONDS.labels(self._query)
        histogram.observe(seconds)


CHATS = Counter("operator_chats_total", "Chats by how they began.", ["kind"])
CHATS_NEW, CHATS_AGAIN = CHATS.labels("new"), CHATS.labels("again")
REPLIES = Counter("operator_replies_total", "Replies by how they ended.", ["status"])
REPLIES_RUNNING = Gauge("operator_replies_running", "Replies that this process writes now.")
TIME_TO_FIRST_TOKEN_SECONDS = Histogram(
    "operator_time_to_first_token_seconds",
    "Time from the call to the upstream to the first token of its reply.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
READS_COALESCED = Gauge(
    "operator_upstream_reads_coalesced",
    "1 while the event loop is busy and all upstream streams are read together, every 40 ms.",
)
SWITCH_SECONDS = Histogram(
    "operator_switch_seconds",
    "Time that the upstream took for a whole reply.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
CHAT_OVERHEAD_SECONDS = Histogram(
    "operator_chat_overhead_seconds",
    "Time that a chat spent in Operator, without the upstream's share.",
    buckets=_DB_BUCKETS,
)
TOKENS = Counter(
    "operator_tokens_total",
    "Tokens of ended replies, as the upstream counted them.",
    ["kind", "token", "model"],
)
MAX_MODELS = 100
"""Models that have series of their own: an upstream may name any number of them."""
_models: set[str] = set()


@cache
def reply_counter(status: str) -> Callable[[], None]:
    """The counter of replies that ended so."""
    return REPLIES.labels(status).inc


@cache
def _token_counter(kind: str, token: str, model: str) -> Callable[[float], None]:
    return TOKENS.labels(kind, token, model).inc


def token_label(name: str) -> str:
    """The name of a token as a label: signed tokens, which are as many as users, have one."""
    return JWT_PREFIX.rstrip(":") if name.startswith(JWT_PREFIX) else name


def count_tokens(token: str, model: str, prompt: int, completion: int) -> None:
    """Count the tokens of a reply for the name of the token that asked."""
    if len(_models) < MAX_MODELS:
        _models.add(model)
    shown = model if model in _models else "other"
    for kind, count in (("prompt", prompt), ("completion", completion)):
        if count:
            _token_counter(kind, token_label(token), shown)(count)


SOCKETS = Gauge("operator_sockets", "Live clients by transport.", ["transport"])
QUEUED_BYTES = Gauge("operator_queued_bytes", "Bytes that wait for slow clients.")
BYTES_IN_FLIGHT = Gauge(
    "operator_bytes_in_flight", "Bytes of responses and frames that clients have not read yet."
)
BYTES_IN_FLIGHT_LIMIT = Gauge(
    "operator_bytes_in_flight_limit", "Bytes in flight beyond which large requests are refused."
)
BYTES_REFUSED = Counter(
    "operator_bytes_refused_total", "Requests refused because too many bytes were in flight."
)
MERGED_DELTAS = Counter("operator_merged_deltas_total", "Deltas merged for slow clients.")
SLOW_CONSUMER_DISCONNECTS = Counter(
    "operator_slow_consumer_disconnects_total", "Clients disconnected because they read too slowly."
)
RESUMES = Counter("operator_resumes_total", "Resumes by outcome.", ["outcome"])
BUS_NOTIFIES = Counter("operator_bus_notifies_total", "Notifications sent to other pods.")
BUS_CONNECTED = Gauge(
    "operator_bus_connected",
    "1 while this process is connected to NATS, 0 while it does without; not kept without one.",
    ["bus"],
)
BUS_GAPS = Counter(
    "operator_bus_gaps_total",
    "Looks into the database for text of a reply of another process that NATS did not bring.",
)
BUS_DELAY_SECONDS = Histogram(
    "operator_bus_delay_seconds",
    "Delay between a notification of another pod and the delivery of its events here.",
    buckets=_DB_BUCKETS,
)
MISSED_NOTIFICATIONS = Counter(
    "operator_missed_notifications_total",
    "Sessions whose new events were found by the poll because a notification was missing.",
)
BROWSER_TASKS = Counter(
    "operator_browser_tasks_total", "Browser tasks by how they ended.", ["status"]
)
BROWSER_QUEUE = Gauge("operator_browser_queue", "Waiting browser tasks of all processes.")
LEASES_LOST = Counter("operator_leases_lost_total", "Times that this process lost its lease.")

_HTTP_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class RouteMetrics:
    """The requests of one route and method. Plain numbers, which only the event loop changes:
    the library's own, with a lock and a check for each, would cost a tenth of a small answer."""

    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(_HTTP_BUCKETS) + 1)
        self.seconds = 0.0

    def count(self, status: int) -> None:
        """Count an answer with ``status``."""
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def observe(self, seconds: float) -> None:
        """Note the duration of an answer."""
        self.buckets[bisect_left(_HTTP_BUCKETS, seconds)] += 1
        self.seconds += seconds


class _HttpCollector(Collector):
    """``operator_http_requests_total`` and ``operator_http_request_seconds``."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], RouteMetrics] = {}

    def route(self, template: str, method: str) -> RouteMetrics:
        """The metrics of a route, by its template; ask once, keep it."""
        return self._routes.setdefault((template, method), RouteMetrics())

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        requests = CounterMetricFamily(
            "operator_http_requests",
            "Requests by the template of their route, method and status.",
            labels=["route", "method", "status"],
        )
        seconds = HistogramMetricFamily(
            "operator_http_request_seconds",
            "Time from a request's head to its answer's; websockets are not among them.",
            labels=["route", "method"],
        )
        bounds = [*map(floatToGoString, _HTTP_BUCKETS), "+Inf"]
        for labels, route in list(self._routes.items()):
            for status, count in list(route.statuses.items()):
                requests.add_metric([*labels, str(status)], count)
            buckets = list(zip(bounds, accumulate(route.buckets), strict=True))
            seconds.add_metric(labels, buckets, route.seconds)
        yield requests
        yield seconds


HTTP = _HttpCollector()
REGISTRY.register(HTTP)
TOKEN_REQUESTS = Counter(
    "operator_token_requests_total", "Requests by the name of their token.", ["token"]
)
JWT_KEYS_AGE = Gauge(
    "operator_jwt_keys_age_seconds",
    "Time since the keys of signed tokens were last fetched; 0 without an issuer.",
)
# The library's own: the admin port counts its connections on a thread of its own.
CONNECTIONS_REFUSED = prometheus_client.Counter(
    "operator_connections_refused_total",
    "Connections closed by a limit: evicted, address, full, slow_head or unread.",
    ["reason"],
)
FEEDBACK = Counter(
    "operator_feedback_total", "Feedback rows by the outcome of forwarding them.", ["outcome"]
)
SEARCH_INDEXED = Counter("operator_search_indexed_total", "Messages added to the search index.")
