"""Chat by HTTP: the whole answer, waiting for it, its failures, keys and cancelling."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.eventually import eventually
from tests.rest.conftest import Start
from tests.rest.rest_service import Service


async def ended(service: Service, reply_id: int) -> dict[str, Any]:
    """The reply once it is no longer written."""

    async def no_longer_streaming() -> dict[str, Any]:
        reply: dict[str, Any] = await (await service.get(f"/operator/reply/{reply_id}")).json()
        assert reply["status"] != "streaming"
        return reply

    return await eventually(no_longer_streaming)


async def test_a_chat_makes_a_session_and_goes_on_in_it(both: Service) -> None:
    first = await both.chat("one")
    second = await both.chat("two", session_id=first["session_id"])
    assert second["session_id"] == first["session_id"]
    ids = [first["message_id"], first["reply_id"], second["message_id"], second["reply_id"]]
    assert ids == sorted(ids)
    assert first["metadata"] == {
        "status": "ok", "provider": "stand-in", "decision": "fallback", "streamed": True,
        "latency_ms": first["metadata"]["latency_ms"], "tokens_used": 4,
    }  # fmt: skip
    told = both.switch.recent[-1]["metadata"]["history"]
    assert [turn["content"] for turn in told] == ["one", first["response"]]


async def test_an_unknown_session_is_made(both: Service) -> None:
    assert (await both.chat("hi", session_id="a.b:c_d-1"))["session_id"] == "a.b:c_d-1"


async def test_message_wins_over_messages_and_the_outer_hint_over_the_inner(
    service: Service,
) -> None:
    answer = await service.chat(
        "this",
        messages=[{"role": "user", "content": "that"}],
        provider_hint="outer",
        metadata={"provider_hint": "inner"},
    )
    assert answer["response"].endswith("this")
    assert service.switch.recent[-1]["provider_hint"] == "outer"


@pytest.mark.parametrize(
    ("mode", "status", "error"),
    [
        ("500", 502, "switch_error"),
        ("error", 502, "switch_error"),
        ("partial", 502, "switch_error"),
        ("no_text", 502, "no_answer"),
        ("html", 502, "switch_error"),
        ("broken_json", 502, "switch_error"),
        ("cut", 502, "switch_error"),
        ("big", 502, "reply_too_large"),
    ],
)
async def test_a_failure_of_switch_is_its_error_and_keeps_the_message(
    both: Service, mode: str, status: int, error: str
) -> None:
    response = await both.post(
        "/operator/chat", {"message": f"please [[{mode}]]", "session_id": "failing"}
    )
    shown = await response.json()
    assert (response.status, shown["error"]) == (status, error)
    assert "Hermes" not in await response.text()
    history = await (await both.get("/operator/session/failing")).json()
    user, reply = history["messages"]
    assert user["content"] == f"please [[{mode}]]"
    assert (reply["status"], reply["metadata"]["error"]) == ("failed", error)
    why = {"500": "Switch answered with HTTP status 500"}.get(mode, reply["metadata"]["detail"])
    assert reply["metadata"]["detail"] == why
    assert error != "switch_error" or shown["detail"] == f"{why}; your message is stored"
    assert (shown["message_id"], shown["reply_id"]) == (user["id"], reply["id"])
    await both.chat("the next one works", session_id="failing")


async def test_a_silent_switch_is_504(start: Start) -> None:
    service = await start(switch_first_byte_timeout=0.2)
    response = await service.post("/operator/chat", {"message": "[[stall_first]]"})
    assert (response.status, (await response.json())["error"]) == (504, "switch_timeout")


async def test_an_unreachable_switch_is_503(start: Start) -> None:
    service = await start(switch_url="http://127.0.0.1:9")
    response = await service.post("/operator/chat", {"message": "hi"})
    assert (response.status, (await response.json())["error"]) == (503, "switch_unavailable")
    assert int(response.headers["Retry-After"]) >= 1


async def test_prefer_wait_answers_pending_in_time(both: Service) -> None:
    response = await both.post(
        "/operator/chat",
        {"message": "slowly [[stall_first]]", "session_id": "w"},
        headers={"Prefer": "wait=1"},
    )
    body = await response.json()
    assert response.status == 202
    assert body["status"] == "streaming"
    assert body["session_id"] == "w"
    assert response.headers["Preference-Applied"] == "wait=1"
    assert response.headers["Location"] == f"/operator/reply/{body['reply_id']}"
    assert (await both.post(f"/operator/reply/{body['reply_id']}/cancel")).status == 200
    reply = await ended(both, body["reply_id"])
    assert (reply["status"], reply["message_id"]) == ("cancelled", body["message_id"])


@pytest.mark.parametrize("prefer", ["respond-async", 'foo=bar, respond-async; x="y"'])
async def test_prefer_respond_async_answers_at_once(service: Service, prefer: str) -> None:
    response = await service.post(
        "/operator/chat", {"message": "slowly [[delay=0.5]]"}, headers={"Prefer": prefer}
    )
    assert response.status == 202
    assert response.headers["Preference-Applied"] == "respond-async"
    assert (await ended(service, (await response.json())["reply_id"]))["status"] == "complete"


@pytest.mark.parametrize("prefer", ["wait=30", "wait = 30", "WAIT=30", 'respond-async, wait="30"'])
async def test_a_quick_reply_is_whole_within_the_wait(service: Service, prefer: str) -> None:
    response = await service.post("/operator/chat", {"message": "hi"}, headers={"Prefer": prefer})
    assert (response.status, response.headers["Preference-Applied"]) == (200, "wait=30")


@pytest.mark.parametrize("prefer", ["wait=x", "wait=-1", "wait", "return=minimal", ""])
async def test_a_preference_that_is_not_understood_is_ignored(
    service: Service, prefer: str
) -> None:
    response = await service.post("/operator/chat", {"message": "hi"}, headers={"Prefer": prefer})
    assert response.status == 200
    assert "Preference-Applied" not in response.headers


async def test_a_cancelled_reply_is_200_with_what_there_is(both: Service) -> None:
    asked = asyncio.ensure_future(
        both.post(
            "/operator/chat",
            {"message": "talk [[rate=20]] [[tokens=1000]]", "session_id": "c"},
        )
    )

    async def shown_reply() -> Any:
        history = await (await both.get("/operator/session/c")).json()
        reply = (history.get("messages") or [{}])[-1]
        return reply if reply.get("role") == "assistant" and reply["content"] else None

    reply_id = (await eventually(shown_reply))["id"]
    shown = await (await both.get(f"/operator/reply/{reply_id}")).json()
    assert shown["status"] == "streaming"
    assert shown["end"] == len(shown["content"]) > 0
    cancelled = await (await both.post(f"/operator/reply/{reply_id}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    response = await asked
    body = await response.json()
    assert response.status == 200
    assert body["metadata"]["status"] == "cancelled"
    assert body["response"] == cancelled["content"] != ""
    again = await both.post(f"/operator/reply/{reply_id}/cancel")
    assert (again.status, (await again.json())["status"]) == (200, "cancelled")


async def test_an_interrupted_reply_is_503(service: Service) -> None:
    asked = asyncio.ensure_future(
        service.post("/operator/chat", {"message": "talk [[rate=20]] [[tokens=1000]]"})
    )
    await eventually(lambda: len(service.operator.core.running))
    await asyncio.sleep(0.2)  # some of it is written
    service.operator.reply_writer.interrupt_all()
    response = await asked
    assert (response.status, (await response.json())["error"]) == (503, "reply_interrupted")
    assert int(response.headers["Retry-After"]) >= 1


async def test_a_key_returns_the_same_reply(both: Service) -> None:
    body = {"message": "once", "session_id": "k", "user_id": "ana"}
    calls = len(both.switch.recent)
    first = await (
        await both.post("/operator/chat", body, headers={"Idempotency-Key": "key 1"})
    ).json()
    by_field = await both.chat(**body, client_message_id="key 1")
    without_session = await both.chat("once", user_id="ana", client_message_id="key 1")
    assert first == by_field == without_session
    assert len(both.switch.recent) == calls + 1
    other_user = await both.chat("once", user_id="bob", client_message_id="key 1")
    assert other_user["session_id"] != "k"
    for changed in ({"message": "twice"}, {"metadata": {"a": 1}}, {"session_id": "other"}):
        response = await both.post(
            "/operator/chat", {**body, "client_message_id": "key 1", **changed}
        )
        assert (response.status, (await response.json())["error"]) == (409, "conflict"), changed


async def test_a_key_attaches_to_a_reply_that_is_being_written(both: Service) -> None:
    body = {"message": "slowly [[delay=0.4]]", "session_id": "k", "client_message_id": "same"}
    calls = len(both.switch.recent)
    answers = await asyncio.gather(*(both.post("/operator/chat", body) for _ in range(8)))
    assert [answer.status for answer in answers] == [200] * 8
    assert len({(await answer.json())["reply_id"] for answer in answers}) == 1
    assert len(both.switch.recent) == calls + 1
    history = await (await both.get("/operator/session/k")).json()
    assert len(history["messages"]) == 2


async def test_a_key_of_a_failed_reply_tries_anew(both: Service) -> None:
    both.switch.set_mode({"chat": {"mode": "500"}})
    body = {"message": "again", "session_id": "k", "client_message_id": "retry"}
    assert (await both.post("/operator/chat", body)).status == 502
    both.switch.set_mode({"chat": {"mode": "ok", "rate": 0}})
    response = await both.post("/operator/chat", body)
    assert response.status == 200
    history = await (await both.get("/operator/session/k")).json()
    assert [m["status"] for m in history["messages"]] == ["complete", "failed", "complete"]
    assert history["messages"][2]["reply_to"] == history["messages"][0]["id"]


async def test_chats_beyond_the_rate_are_429_and_headers_show_the_rest(start: Start) -> None:
    service = await start(chat_rate=3)
    left = []
    for _ in range(3):
        response = await service.post("/operator/chat", {"message": "hi", "session_id": "s"})
        assert response.status == 200
        assert response.headers["RateLimit-Policy"] == '"chats";q=3;w=60'
        left.append(response.headers["RateLimit"].split(";")[1])
    assert left == ["r=2", "r=1", "r=0"]
    refused = await service.post("/operator/chat", {"message": "hi", "session_id": "s"})
    assert (refused.status, (await refused.json())["error"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert refused.headers["RateLimit"].startswith('"chats";r=0;t=')
    other = await service.post("/operator/chat", {"message": "hi", "session_id": "other"})
    assert other.status == 200


async def test_requests_beyond_the_rate_are_429_and_headers_show_the_rest(start: Start) -> None:
    service = await start(request_rate=2)
    for _ in range(2):
        response = await service.get("/operator/sessions")
        assert response.status == 200
    assert response.headers["RateLimit-Policy"] == '"requests";q=2;w=60'
    refused = await service.get("/operator/sessions", headers={"Origin": "http://localhost:8020"})
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["Access-Control-Allow-Origin"] == "http://localhost:8020"
    assert (await service.get("/health", token=None)).status == 200


async def test_a_draining_process_takes_no_chats(service: Service) -> None:
    service.operator.services.drain.begin()
    response = await service.post("/operator/chat", {"message": "hi"})
    assert (response.status, (await response.json())["error"]) == (503, "draining")
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Connection"] == "close"
    health = await service.get("/health", token=None)
    assert (health.status, (await health.json())["status"]) == (200, "draining")
    ready = await service.get("/health/ready", token=None)
    assert (ready.status, (await ready.json())["error"]) == (503, "draining")
    assert (await service.get("/operator/sessions")).status == 200
