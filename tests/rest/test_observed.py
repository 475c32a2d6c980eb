"""Ids, headers, logs and metrics of requests, and what they never tell."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from structlog.testing import capture_logs

from operator_svc.errors import ErrorCode, OperatorError
from tests.rest.conftest import Start
from tests.rest.rest_service import TOKEN, Service


def lines_of(logs: list[Any], event: str) -> list[dict[str, Any]]:
    return [entry for entry in logs if entry["event"] == event]


@pytest.mark.parametrize("path", ["/health", "/operator/sessions", "/nothing"])
async def test_a_plain_request_id_is_repeated_and_another_replaced(
    service: Service, path: str
) -> None:
    sane = await service.get(path, headers={"X-Request-ID": "abc-1.2:3"})
    assert sane.headers["X-Request-ID"] == "abc-1.2:3"
    made = [(await service.get(path)).headers["X-Request-ID"] for _ in range(3)]
    assert len(set(made)) == 3
    for odd in ("", "a b", "x" * 129, '"<script>'):
        response = await service.get(path, headers={"X-Request-ID": odd})
        assert response.headers["X-Request-ID"] not in ("", odd)


PAGES = ("/", "/console", "/console/main.js", "/console/client/none", "/metrics", "/nothing")
"""Paths that the document does not name."""


async def test_every_answer_has_the_security_headers(service: Service) -> None:
    await service.chat("hi", session_id="s")
    document = await (await service.get("/openapi.json")).json()
    paths = [re.sub(r"\{(\w+)\}", _named, path) for path in document["paths"]]
    for path in [*paths, *PAGES]:
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            headers = (await service.call(method, path)).headers
            place = f"{method} {path}"
            assert headers["X-Content-Type-Options"] == "nosniff", place
            assert headers["Referrer-Policy"] == "no-referrer", place
            assert headers["Content-Security-Policy"].startswith("default-src 'none'"), place
            assert re.match("no-store|no-cache|private,", headers["Cache-Control"]), place
            assert headers["Server"] == "operator", place
            assert headers["X-Request-ID"], place


def _named(name: re.Match[str]) -> str:
    """An id for a place in a path."""
    ids = {
        "session_id": "s", "response_id": "resp_2", "conversation_id": "conv_s", "item_id": "msg_2",
    }  # fmt: skip
    return ids.get(name[1], "2")


async def test_the_access_log_has_one_line_a_request(service: Service) -> None:
    with capture_logs() as logs:
        await service.chat("words that nobody logs", session_id="s")
        await service.get("/operator/session/s?limit=5", headers={"X-Request-ID": "mine"})
        await service.get("/operator/session/none")
        await service.get("/health")
        await asyncio.sleep(0)
    chat, history, missing = lines_of(logs, "request")
    assert (chat["method"], chat["route"], chat["status"]) == ("POST", "/operator/chat", 200)
    assert chat["bytes"] > 100
    assert chat["ms"] > 0
    assert chat["caller"] == "default"
    assert history["route"] == "/operator/session/{session_id}"
    assert history["request_id"] == "mine"
    assert missing["status"] == 404
    assert "nobody logs" not in str([e for e in logs if e["log_level"] != "debug"])
    assert TOKEN not in str(logs)


async def test_the_access_log_samples_successes_only(start: Start) -> None:
    service = await start(log_sample=0.0)
    with capture_logs() as logs:
        for _ in range(5):
            await service.get("/operator/sessions")
            await service.get("/operator/session/none")
    assert [entry["status"] for entry in lines_of(logs, "request")] == [404] * 5


async def test_metrics_count_by_route(service: Service) -> None:
    await service.chat("hi", session_id="unbounded-1")
    await service.get("/operator/session/unbounded-1")
    await service.get("/nothing/unbounded-2")
    response = await service.get("/metrics", token=None)
    assert response.content_type == "text/plain"
    text = await response.text()
    assert 'operator_http_requests_total{method="POST",route="/operator/chat",status="200"}' in text
    assert 'route="/operator/session/{session_id}"' in text
    assert 'route="unmatched"' in text
    assert (
        'operator_http_request_seconds_bucket{le="0.005",method="POST",route="/operator/chat"}'
        in text
    )
    assert 'operator_token_requests_total{token="default"}' in text
    assert "unbounded" not in text
    openmetrics = await service.get(
        "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert openmetrics.content_type == "application/openmetrics-text"


async def test_an_internal_error_shows_no_cause(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret cause, /etc/passwd")

    monkeypatch.setattr(service.operator.services.history, "page", broken)
    with capture_logs() as logs:
        response = await service.get("/operator/session/s")
    body = await response.json()
    assert (response.status, body["error"]) == (500, "internal_error")
    assert "secret" not in await response.text()
    assert "Traceback" not in await response.text()
    (line,) = lines_of(logs, "request failed")
    assert isinstance(line["exc_info"], RuntimeError)
    assert lines_of(logs, "request")[0]["request_id"] == body["request_id"]


async def test_an_export_that_breaks_is_cut_and_not_ended(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiohttp import ClientPayloadError

    async def broken(*_: Any) -> Any:
        yield b'{"type": "session"}\n'
        raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "gone")

    await service.chat("hi", session_id="s")
    monkeypatch.setattr("operator_svc.rest.handlers.sessions.pieces_of", broken)
    with pytest.raises(ClientPayloadError):
        await service.get("/operator/session/s/export")
    assert (await service.get("/operator/session/s")).status == 200


async def test_readiness_without_a_database_is_503(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def ping() -> None:
        nonlocal looks
        looks += 1
        if looks > 1:
            raise OperatorError(ErrorCode.DATABASE_UNAVAILABLE, "it does not answer")

    monkeypatch.setattr("operator_svc.rest.handlers.health.READY_SECONDS", 60.0)
    monkeypatch.setattr(service.operator.core.database, "ping", ping)
    answers = await asyncio.gather(*(service.get("/health/ready", token=None) for _ in range(10)))
    assert {answer.status for answer in answers} == {200}
    assert looks == 1
    monkeypatch.setattr("operator_svc.rest.handlers.health.READY_SECONDS", 0.0)
    response = await service.get("/health/ready", token=None)
    assert (response.status, (await response.json())["error"]) == (503, "database_unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert (await service.get("/health", token=None)).status == 200
    assert (await service.get("/health/live", token=None)).status == 200


async def test_readiness_of_a_hanging_database_is_503_in_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ping() -> None:
        await asyncio.sleep(30)  # it hangs

    monkeypatch.setattr("operator_svc.rest.handlers.health.READY_TIMEOUT", 0.1)
    monkeypatch.setattr(service.operator.core.database, "ping", ping)
    response = await service.get("/health/ready", token=None)
    assert (response.status, (await response.json())["error"]) == (503, "database_unavailable")


async def test_readiness_without_all_migrations_is_503(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def applied() -> frozenset[str]:
        return frozenset()

    monkeypatch.setattr(service.operator.core.database, "applied_migrations", applied)
    response = await service.get("/health/ready", token=None)
    assert response.status == 503
    assert "migrations" in (await response.json())["detail"]


async def test_head_is_a_get_without_a_body(service: Service) -> None:
    await service.chat("hi", session_id="s")
    for path in (
        "/health",
        "/operator/sessions",
        "/operator/session/s",
        "/operator/session/s/export",
    ):
        response = await service.call("HEAD", path)
        assert response.status == 200, path
        assert await response.text() == ""
