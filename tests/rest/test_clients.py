"""Each client that exists today sends what it sends, and gets what it needs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientTimeout

from tests.fakes.eventually import WITHIN, eventually
from tests.rest.rest_service import TOKEN, Service

UI_ORIGIN = "http://localhost:8020"


async def test_the_gateway_finds_the_reply_in_response(both: Service) -> None:
    response = await both.post(
        "/operator/chat",
        {
            "session_id": "gw-1",
            "user_id": "ana",
            "message": "what is running?",
            "context_summary": "they talked about modules",
            "metadata": {"source": "tentaculo_link"},
        },
        timeout=ClientTimeout(total=WITHIN),
    )
    assert response.status == 200
    body = await response.json()
    assert (body.get("response") or body.get("message")) == "[stand-in] You said: what is running?"
    assert body["session_id"] == "gw-1"
    assert body["reply"] == body["response"]
    assert body["tool_calls"] == []
    assert body["metadata"]["status"] == "ok"
    history = await (await both.get("/operator/session/gw-1")).json()
    assert history["user_id"] == "ana"
    assert [m["content"] for m in history["messages"]] == ["what is running?", body["response"]]


async def test_the_gateway_gives_up_and_the_reply_is_in_the_history(service: Service) -> None:
    body = {"session_id": "gw-2", "message": "slowly [[delay=0.6]]"}
    asking = asyncio.create_task(service.post("/operator/chat", body))
    await eventually(lambda: service.switch.total.running == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    async def complete() -> Any:
        reply = (await (await service.get("/operator/session/gw-2")).json())["messages"][-1]
        return reply if reply["status"] == "complete" else None

    assert (await eventually(complete))["content"].startswith("[stand-in] You said: slowly")


async def test_the_standalone_ui_looks_whether_it_is_connected(service: Service) -> None:
    origin = {"Origin": UI_ORIGIN}
    missing = await service.call("OPTIONS", "/operator/chat", token=None, headers=origin)
    assert missing.status == 401
    assert missing.headers["Access-Control-Allow-Origin"] == UI_ORIGIN
    there = await service.call("OPTIONS", "/operator/chat", headers=origin)
    assert 200 <= there.status < 300
    assert there.headers["Allow"] == "OPTIONS, POST"
    wrong = await service.call("OPTIONS", "/operator/chat", token="nope", headers=origin)
    assert wrong.status == 403
    next_url = await service.call("OPTIONS", "/operator/elsewhere", headers=origin)
    assert next_url.status == 404


async def test_the_standalone_ui_is_preflighted(service: Service) -> None:
    response = await service.call(
        "OPTIONS",
        "/operator/chat",
        token=None,
        headers={
            "Origin": UI_ORIGIN,
            "Access-Control-Request-Method": "OPTIONS",
            "Access-Control-Request-Headers": "x-vx11-token, x-stainless-os,x-custom, bad name",
        },
    )
    assert response.status == 204
    assert "OPTIONS" in response.headers["Access-Control-Allow-Methods"]
    assert "X-VX11-Token" in response.headers["Access-Control-Allow-Headers"]
    allowed = response.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "x-stainless-os", "x-custom"} <= set(allowed)
    assert not any("bad name" in name for name in allowed)


async def test_the_standalone_ui_posts_its_whole_conversation(both: Service) -> None:
    talk = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "second"},
    ]
    response = await both.post("/operator/chat", {"messages": talk}, headers={"Origin": UI_ORIGIN})
    assert response.status == 200
    body = await response.json()
    assert body["response"] == "[stand-in] You said: second"
    assert response.headers["Access-Control-Allow-Origin"] == UI_ORIGIN
    again = await (await both.post("/operator/chat", {"messages": talk})).json()
    assert again["session_id"] != body["session_id"]
    history = await (await both.get(f"/operator/session/{body['session_id']}")).json()
    assert [m["role"] for m in history["messages"]] == ["user", "assistant"]
    call = both.switch.recent[-1]
    assert [m["content"] for m in call["messages"]] == ["second"]
    assert [m["content"] for m in call["metadata"]["history"]] == ["be brief", "first", "one"]


async def test_the_published_ui_posts_and_reads_its_session(both: Service) -> None:
    response = await both.post(
        "/operator/chat",
        {
            "session_id": "ui-7",
            "message": "hola",
            "metadata": {"provider_hint": "hermes", "session_id": "ui-7"},
        },
    )
    assert response.status == 200
    assert (await response.json())["response"] == "[stand-in] You said: hola"
    assert both.switch.recent[-1]["provider_hint"] == "hermes"
    history = await (await both.get("/operator/session/ui-7")).json()
    assert set(history) == {
        "session_id", "user_id", "source", "created_at", "updated_at", "message_count",
        "messages", "next_before",
    }  # fmt: skip
    assert {"id", "role", "content", "status", "timestamp", "metadata", "tool_calls"} <= set(
        history["messages"][0]
    )
    assert history["message_count"] == 2


async def test_the_published_ui_shows_error_or_message(service: Service) -> None:
    response = await service.get("/operator/session/nobody")
    body = json.loads(await response.text())
    assert body["error"] == "session_not_found"
    assert body["message"] == body["detail"]
    assert body["status_code"] == response.status == 404


async def test_old_scripts_may_put_fields_into_the_query(both: Service) -> None:
    response = await both.call(
        "POST", "/operator/chat?message=from+the+query&session_id=script-1&stream=false"
    )
    assert response.status == 200
    body = await response.json()
    assert body["response"] == "[stand-in] You said: from the query"
    assert body["session_id"] == "script-1"


async def test_where_both_give_a_field_the_body_wins(service: Service) -> None:
    response = await service.post(
        "/operator/chat?message=query&user_id=query", {"message": "body", "session_id": "both"}
    )
    assert (await response.json())["response"] == "[stand-in] You said: body"
    history = await (await service.get("/operator/session/both")).json()
    assert history["user_id"] == "query"


async def test_a_token_in_the_query_is_ignored(service: Service) -> None:
    response = await service.post(
        f"/operator/chat?token={TOKEN}&X-VX11-Token={TOKEN}", {"message": "hi"}, token=None
    )
    assert response.status == 401
