"""Metrics of the browser service, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The metrics of one service."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.pages = Counter(
            "operator_browser_pages_total",
            "Pages by status: those of /navigate, and invalid, unavailable, died, gone, draining.",
            ["status"],
            registry=registry,
        )
        self.page_seconds = Histogram(
            "operator_browser_page_seconds",
            "Duration of a page, without its time in the queue.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "operator_browser_queue_seconds",
            "Time that a page waited in the queue.",
            buckets=(0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
            registry=registry,
        )
        self.transferred = Counter(
            "operator_browser_transferred_bytes_total",
            "Bytes that pages sent and received through their proxies.",
            registry=registry,
        )
        self.queue_full = Counter(
            "operator_browser_queue_full_total",
            "Requests rejected because the queue was full.",
            registry=registry,
        )
        self.memory_exceeded = Counter(
            "operator_browser_memory_exceeded_total",
            "Pages ended because they exceeded BROWSER_PAGE_MEMORY.",
            registry=registry,
        )
        self.starts = Counter(
            "operator_browser_chromium_starts_total", "Starts of Chromium.", registry=registry
        )
        self.deaths = Counter(
            "operator_browser_chromium_deaths_total",
            "Unexpected ends of Chromium.",
            registry=registry,
        )
        self.pages_open = Gauge("operator_browser_pages_open", "Pages open now.", registry=registry)
        self.queue_length = Gauge(
            "operator_browser_queue_length", "Requests in the queue now.", registry=registry
        )

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
