"""The admin port: probes and metrics, answered beside the application's event loop."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import pytest
from structlog.testing import capture_logs

from operator_svc.rest.server import admin
from tests.fakes.eventually import eventually
from tests.rest.rest_service import Service, running

T = TypeVar("T")
PATIENCE = 20.0
"""Seconds for an answer; far more than it takes."""


class Observed(NamedTuple):
    """A service, and the address of its admin port."""

    service: Service
    url: str

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body of a GET, for which this thread waits."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    async def get(self, path: str) -> tuple[int, str]:
        """The same, while the event loop turns."""
        async with self.service.session.get(self.url + path) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def observed(database_url: str, unused_tcp_port: int) -> AsyncIterator[Observed]:
    """A service with an admin port: the test runs once on each engine."""
    async with running(database_url, metrics_port=unused_tcp_port) as service:
        yield Observed(service, f"http://127.0.0.1:{unused_tcp_port}")


def blocking_the_loop(ask: Callable[[], T]) -> T:
    """The result of ``ask`` on another thread, while this one is busy and its loop stands still."""
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(ask)
        while not asked.done():
            pass
        return asked.result()


async def test_probes_and_metrics_have_a_port_of_their_own(observed: Observed) -> None:
    await observed.service.chat("hello")
    assert await observed.get("/health/live") == (200, '{"status":"ok"}')
    assert await observed.get("/health/ready") == (200, '{"status":"ready"}')
    for path in ("/health", "/operator/sessions", "/openapi.json"):
        assert (await observed.get(path))[0] == 404
    assert (await observed.service.get("/metrics")).status == 404
    for path in ("/health/live", "/health/ready"):
        assert (await observed.service.get(path, token=None)).status == 200
    status, text = await observed.get("/metrics")
    assert status == 200
    assert 'operator_http_requests_total{method="POST",route="/operator/chat",status="200"}' in text


async def test_live_is_answered_while_the_event_loop_is_busy(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "STUCK", PATIENCE)
    assert blocking_the_loop(lambda: observed.ask("/health/live"))[0] == 200
    assert blocking_the_loop(lambda: observed.ask("/metrics"))[0] == 200


async def test_live_fails_while_the_event_loop_is_stuck(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "STUCK", 0.5)

    def ask_until_it_fails() -> tuple[int, str]:
        given_up = time.monotonic() + PATIENCE
        while (answer := observed.ask("/health/live"))[0] == 200:
            assert time.monotonic() < given_up
        return answer

    with capture_logs() as logs:
        status, body = blocking_the_loop(ask_until_it_fails)
    assert status == 500
    assert "event loop has not turned" in body
    line = next(line for line in logs if line["event"] == "the event loop is stuck")
    assert "blocking_the_loop" in line["stack"]

    async def lives_again() -> bool:
        return (await observed.get("/health/live"))[0] == 200

    await eventually(lives_again)


async def test_ready_fails_while_the_event_loop_is_stuck(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "READY_TIMEOUT", 0.1)
    status, body = blocking_the_loop(lambda: observed.ask("/health/ready"))
    assert status == 500
    assert "event loop did not answer" in body
    monkeypatch.undo()
    assert (await observed.get("/health/ready"))[0] == 200


async def test_ready_is_503_while_the_process_drains_and_live_is_not(observed: Observed) -> None:
    observed.service.operator.core.drain.begin()
    status, body = await observed.get("/health/ready")
    assert (status, '"draining"' in body) == (503, True)
    assert (await observed.get("/health/live"))[0] == 200
    counted = 'operator_http_requests_total{method="GET",route="/health/ready",status="503"}'
    assert counted in (await observed.get("/metrics"))[1]
