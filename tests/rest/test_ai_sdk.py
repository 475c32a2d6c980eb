"""The AI SDK's calls, where they cannot be served."""

from __future__ import annotations

import re
from typing import Any

import pytest

from operator_svc.rest.ai_sdk import handlers
from tests.rest.rest_service import Service

HELLO = {"role": "user", "parts": [{"type": "text", "text": "hello"}], "id": "m-1"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": [HELLO]}, "id"),
        ({"id": "a b", "messages": [HELLO]}, "id"),
        ({"id": "s"}, "messages"),
        ({"id": "s", "messages": [{**HELLO, "role": "assistant"}]}, "messages"),
        ({"id": "s", "messages": [{**HELLO, "parts": []}]}, "messages[0]"),
        ({"id": "s", "messages": [{**HELLO, "parts": "hello"}]}, "messages[0].parts"),
        ({"id": "s", "messages": [{**HELLO, "id": "x" * 300}]}, "messages[0]"),
        ({"id": "s", "messages": [HELLO], "trigger": "other"}, "trigger"),
        ({"id": "s", "trigger": "regenerate-message", "messageId": "nanoid"}, "messageId"),
    ],
)
async def test_a_wrong_body_is_told_by_its_field(
    service: Service, body: dict[str, Any], field: str
) -> None:
    response = await service.post("/ai/chat", body)
    assert response.status == 422
    assert (await response.json())["errors"][0]["field"] == field


async def test_a_session_that_is_not_there_has_nothing_to_resume(service: Service) -> None:
    for method, path in (("GET", "stream"), ("POST", "stop"), ("GET", "messages")):
        response = await service.call(method, f"/ai/chat/nowhere/{path}")
        assert response.status == 404


async def test_a_regenerate_of_a_new_reply_needs_no_id(both: Service) -> None:
    await both.chat("first", session_id="s-ui")
    body = {"id": "s-ui", "trigger": "regenerate-message"}
    response = await both.post("/ai/chat", body)
    assert response.status == 200
    assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert (await response.text()).endswith("data: [DONE]\n\n")
    shown = await (await both.get("/ai/chat/s-ui/messages")).json()
    assert [message["role"] for message in shown] == ["user", "assistant"]
    assert (await both.get("/ai/chat/s-ui/stream")).status == 204
    assert (await both.post("/ai/chat/s-ui/stop")).status == 204


async def test_the_history_ends_at_its_page_and_links_to_the_one_before(
    both: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "PAGE", 3)
    for text in ("one", "two"):
        await both.chat(text, session_id="s")
    path = "/ai/chat/s/messages"
    newest = await both.get(path)
    link = re.fullmatch(r'<(\?before=\d+)>; rel="next"', newest.headers["Link"])
    assert link is not None
    older = await both.get(path + link[1])
    assert "Link" not in older.headers
    shown = [*(await older.json()), *(await newest.json())]
    roles = [message["role"] for message in shown]
    assert roles == ["user", "assistant"] * 2
    assert len({message["id"] for message in shown}) == 4
    wrong = await both.get(f"{path}?before=x")
    assert (wrong.status, (await wrong.json())["error"]) == (400, "invalid_parameter")
