"""Chats with an upstream as it is, over HTTP: both dialects, strict about what they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from operator_svc.commands.dev import DEV_ORIGINS
from operator_svc.peers.breaker import FAILURES_TO_OPEN
from tests.fakes.eventually import eventually
from tests.rest.rest_service import Service, running


@pytest.fixture(params=["vx11", "openai"])
async def upstream(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Service]:
    """A service on either engine, in front of an upstream of either dialect."""
    async with running(database_url, switch_dialect=request.param) as service:
        yield service


async def fails(service: Service, message: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    """A chat that fails: its status and problem, with its headers under ``headers``."""
    response = await service.post("/operator/chat", {"message": message, **fields})
    return response.status, {**await response.json(), "headers": dict(response.headers)}


async def newest_reply(service: Service, session_id: str) -> dict[str, Any]:
    page = await (await service.get(f"/operator/session/{session_id}")).json()
    reply: dict[str, Any] = page["messages"][-1]
    return reply


async def engines(service: Service) -> dict[str, dict[str, Any]]:
    shown = await (await service.get("/operator/switch/engines")).json()
    return {row["engine"]: row for row in shown["engines"]}


@pytest.mark.parametrize(
    ("mode", "status", "error", "finish_reason"),
    [
        ("length", 502, "no_answer", "length"),
        ("filtered", 502, "content_filtered", "content_filter"),
        ("error_event", 502, "switch_error", None),
        ("cut", 502, "switch_error", None),
    ],
)
async def test_failed_reply_tells_who_answered_and_counts_against_them(
    upstream: Service, mode: str, status: int, error: str, finish_reason: str | None
) -> None:
    await upstream.chat("[[ok]] one", session_id="s")
    got, problem = await fails(
        upstream, f"[[{mode}]] two", session_id="s", provider_hint="stand-in"
    )
    assert (got, problem["error"]) == (status, error)
    metadata = (await newest_reply(upstream, "s"))["metadata"]
    assert (metadata["status"], metadata["error"]) == ("failed", error)
    assert metadata["provider"] == "stand-in"
    assert metadata.get("finish_reason") == finish_reason
    row = (await engines(upstream))["stand-in"]
    assert (row["calls"], row["success_rate"]) == (2, 0.5)


async def test_engine_that_was_asked_for_by_name_is_told_where_nobody_answers(
    upstream: Service,
) -> None:
    status, problem = await fails(upstream, "[[500]]", session_id="s", provider_hint="hermes")
    assert (status, problem["error"]) == (502, "switch_error")
    assert (await newest_reply(upstream, "s"))["metadata"]["provider"] == "hermes"
    assert (await engines(upstream))["hermes"]["success_rate"] == 0.0


async def test_engine_is_not_blamed_for_an_upstream_that_is_away(upstream: Service) -> None:
    await upstream.switch.aclose()
    status, problem = await fails(upstream, "hi", session_id="s", provider_hint="hermes")
    assert (status, problem["error"]) == (503, "switch_unavailable")
    assert (await newest_reply(upstream, "s"))["metadata"]["provider"] == "hermes"
    assert await engines(upstream) == {}


async def test_busy_upstream_is_503_with_its_own_retry_after(upstream: Service) -> None:
    for _ in range(FAILURES_TO_OPEN + 1):
        status, problem = await fails(upstream, "[[429]]", session_id="s")
        assert (status, problem["error"]) == (503, "switch_busy")
        assert problem["headers"]["Retry-After"] == "7"
    assert (await newest_reply(upstream, "s"))["metadata"]["retry_after"] == 7
    await upstream.chat("the circuit is closed", session_id="s")


@pytest.mark.parametrize("mode", ["length", "filtered", "no_text", "error", "partial", "400"])
async def test_one_users_engine_trouble_is_nobody_elses(upstream: Service, mode: str) -> None:
    for _ in range(FAILURES_TO_OPEN + 1):
        status, problem = await fails(upstream, f"[[{mode}]]", user_id="ana")
        assert (status, problem["error"] != "switch_unavailable") == (502, True)
    await upstream.chat("hello", user_id="eva")


async def test_reply_tells_how_its_engine_ended(upstream: Service) -> None:
    answer = await upstream.chat("[[tool_call]]", session_id="s")
    assert answer["metadata"]["finish_reason"] == "tool_calls"
    answer = await upstream.chat("[[non_string]]", session_id="s")
    assert answer["metadata"]["content_type"] == "json"
    assert answer["response"].startswith('{"text":')
    stored = (await newest_reply(upstream, "s"))["metadata"]
    assert stored["content_type"] == "json"


async def test_broken_arguments_are_named_in_the_tool_calls_record(upstream: Service) -> None:
    answer = await upstream.chat("[[broken_arguments]]", session_id="s")
    (call,) = answer["tool_calls"]
    assert call["error"] == "the arguments are not JSON"
    assert call["arguments"] == '{"query":"[[broken_arguments]]"'
    answer = await upstream.chat("[[two_tool_calls]]", session_id="s")
    assert [c["arguments"] for c in answer["tool_calls"]] == [
        {"query": "[[two_tool_calls]]"}, {},
    ]  # fmt: skip


async def test_reasoning_in_think_tags_is_neither_stored_nor_sent_back(upstream: Service) -> None:
    answer = await upstream.chat("[[think]] hi", session_id="s")
    assert answer["response"] == "[stand-in] You said: [[think]] hi"
    assert (await newest_reply(upstream, "s"))["content"] == answer["response"]
    await upstream.chat("again", session_id="s")
    assert "<think>" not in str(upstream.switch.recent[-1])


async def stopped_before_its_first_token(service: Service) -> None:
    asked = asyncio.ensure_future(
        service.post("/operator/chat", {"message": "[[stall_first]]", "session_id": "s"})
    )
    await eventually(lambda: service.switch.total.running == 1)
    reply = await newest_reply(service, "s")
    await service.post(f"/operator/reply/{reply['id']}/cancel")
    assert (await asked).status == 200


async def two_at_once(service: Service) -> None:
    slow = {"message": "[[delay=0.3]] slow", "session_id": "s"}
    asked = asyncio.ensure_future(service.post("/operator/chat", slow))
    await eventually(lambda: service.switch.total.running == 1)
    await service.chat("quick", session_id="s")
    assert (await asked).status == 200


async def answered_twice(service: Service) -> None:
    first = await service.chat("hello", session_id="s")
    again = {"session_id": "s", "metadata": {"regenerate": first["message_id"]}}
    assert (await service.post("/operator/chat", again)).status == 200


async def tools_alone(service: Service) -> None:
    await service.chat("[[only_tool_call]]", session_id="s")


async def many_failures(service: Service) -> None:
    for mode in ("400", "length", "cut", "error_event", "filtered"):
        await fails(service, f"[[{mode}]]", session_id="s")


TROUBLES = [
    stopped_before_its_first_token, two_at_once, answered_twice, tools_alone, many_failures,
]  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_session_goes_on_after(upstream: Service, trouble: Any) -> None:
    await upstream.chat("before", session_id="s")
    await trouble(upstream)
    for number in range(3):
        await upstream.chat(f"after {number}", session_id="s")
    sent = upstream.switch.recent[-1]
    history = sent.get("metadata", {}).get("history") or sent["messages"][:-1]
    said = [turn["content"] for turn in history]
    assert said[0] == "before"
    assert said[-2:] == ["after 1", "[stand-in] You said: after 1"]
    assert [turn["role"] for turn in history] == ["user", "assistant"] * (len(history) // 2)
    if trouble is answered_twice:
        assert said.count("hello") == 1


async def test_clients_own_conversation_is_sent_as_exchanges(upstream: Service) -> None:
    answer = await upstream.post(
        "/operator/chat",
        {
            "messages": [
                {"role": "developer", "content": "be brief"},
                {"role": "assistant", "content": "welcome"},
                {"role": "user", "content": "one"},
                {"role": "user", "content": "two"},
                {"role": "assistant", "content": "<think>hm</think>three"},
                {"role": "tool", "content": "four"},
                {"role": "user", "content": "now"},
            ],
            "context_summary": "so far",
        },
    )
    assert answer.status == 200, await answer.text()
    sent = upstream.switch.recent[-1]
    history = sent.get("metadata", {}).get("history") or sent["messages"][:-1]
    assert [(turn["role"], turn["content"]) for turn in history[1:]] == [
        ("user", "two"),
        ("assistant", "three"),
    ]
    assert history[0]["role"] == "system"
    assert history[0]["content"].endswith("be brief")


async def test_correlation_id_is_kept_and_passed_to_the_upstream(upstream: Service) -> None:
    for name in ("X-Correlation-Id", "X-Request-ID"):
        response = await upstream.post("/operator/chat", {"message": "hi"}, headers={name: "c-1"})
        assert response.headers["X-Correlation-Id"] == response.headers["X-Request-ID"] == "c-1"
        assert upstream.switch.last_headers["X-Correlation-Id"] == "c-1"
    response = await upstream.post(
        "/operator/chat", {"message": "hi"}, headers={"X-Correlation-Id": "not\tan id"}
    )
    assert response.headers["X-Correlation-Id"] == response.headers["X-Request-ID"] != "not\tan id"


async def test_newer_interfaces_path_answers_the_same_chat_with_its_own_fields(
    service: Service,
) -> None:
    response = await service.post(
        "/operator/api/chat", {"message": "hi", "session_id": "s"},
    )  # fmt: skip
    answer = await response.json()
    assert response.status == 200
    assert answer["response"] == answer["reply"] == "[stand-in] You said: hi"
    assert (answer["degraded"], answer["provider_used"]) == (False, "stand-in")
    response = await service.post("/operator/api/chat", {"message": "[[500]]", "session_id": "s"})
    assert (response.status, (await response.json())["error"]) == (502, "switch_error")
    response = await service.post("/operator/api/chat", {"message": "hi"}, token=None)
    assert response.status == 401


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:5173", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost", True),
        ("http://localhost:x", False),
        ("http://localhost:5173.evil.example", False),
        ("http://evil.example:5173", False),
        ("https://localhost:5173", False),
    ],
)
async def test_any_port_of_an_origin_may_be_let_in(
    sqlite_url: str, origin: str, allowed: bool
) -> None:
    async with running(sqlite_url, allowed_origins=DEV_ORIGINS) as service:
        response = await service.get("/operator/sessions", headers={"Origin": origin})
        if allowed:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == origin
        else:
            assert response.status == 403
            assert "OPERATOR_ALLOWED_ORIGINS" in (await response.json())["detail"]
