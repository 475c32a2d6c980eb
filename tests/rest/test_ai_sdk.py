"""The AI SDK's calls, where they cannot be served."""

from __future__ import annotations

import re
from typing import Any

import pytest

from operator_svc.rest.ai_sdk import handlers
from tests.rest.conftest import Start
from tests.rest.openai_calls import sent
from tests.rest.rest_service import TOKEN, Service

AUTHORIZED = {"X-VX11-Token": TOKEN}
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
    for method, path, status in (
        ("GET", "stream", 204),
        ("POST", "stop", 204),
        ("GET", "messages", 404),
    ):
        response = await service.call(method, f"/ai/chat/nowhere/{path}")
        assert response.status == status, path


def said(identity: str, text: str) -> dict[str, Any]:
    """A message of the user."""
    return {"role": "user", "parts": [{"type": "text", "text": text}], "id": identity}


async def send(service: Service, *messages: dict[str, Any], **fields: Any) -> str:
    """The stream that answers the last of these messages."""
    response = await service.post("/ai/chat", {"id": "s-ui", "messages": messages, **fields})
    assert response.status == 200, await response.text()
    return await response.text()


async def shown(service: Service) -> list[tuple[str, str]]:
    """The ids and texts of the user's messages, as the history has them."""
    messages = await (await service.get("/ai/chat/s-ui/messages")).json()
    return [(m["id"], m["parts"][0]["text"]) for m in messages if m["role"] == "user"]


async def test_an_edited_message_takes_the_place_of_what_it_was(start: Start) -> None:
    service = await start(switch_dialect="openai")
    await send(service, said("a", "one"))
    await send(service, said("b", "two"))
    await send(service, said("c", "three"))
    for _ in range(2):  # the same edit sent twice is asked once
        await send(service, said("b", "two, edited"), messageId="b")
    assert [text for _, text in await shown(service)] == ["one", "two, edited"]
    assert service.switch.total.calls == 4
    await send(service, said("b", "two, again"), messageId="b")
    assert [m["content"] for m in sent(service)["messages"] if m["role"] == "user"] == [
        "one", "two, again",
    ]  # fmt: skip
    (first, _), _ = await shown(service)  # as a page loaded anew knows it
    await send(service, said(first, "one, edited"), messageId=first)
    await send(service, said("new-id", "one, replaced"), messageId=first)
    await send(service, said("d", "four"))
    assert [text for _, text in await shown(service)] == ["one, replaced", "four"]


async def test_a_message_that_is_edited_while_it_is_answered_is_answered_anew(
    both: Service,
) -> None:
    body = {"id": "s-ui", "messages": [said("a", "slowly [[stall]]")]}
    async with both.session.post(f"{both.url}/ai/chat", json=body, headers=AUTHORIZED) as running:
        await running.content.readany()
        assert "finish" in await send(both, said("a", "quickly"), messageId="a")
        assert "error" in await running.text()
    assert [text for _, text in await shown(both)] == ["quickly"]


async def test_a_message_of_another_session_is_not_edited(both: Service) -> None:
    other = await both.chat("mine", session_id="s-other")
    await send(both, said("a", "hello"), messageId=str(other["message_id"]))
    assert (await both.get(f"/operator/reply/{other['reply_id']}")).status == 200


async def test_a_regenerate_knows_the_clients_own_ids(both: Service) -> None:
    await send(both, said("a", "one"))
    await send(both, said("b", "two"))
    await send(both, trigger="regenerate-message", messageId="a")
    await send(both, said("a", "one"), trigger="regenerate-message")  # the client has no more
    first, second = [int(identity) for identity, _ in await shown(both)]
    session = await (await both.get("/operator/session/s-ui")).json()
    answered = [m["reply_to"] for m in session["messages"] if m["role"] == "assistant"]
    assert answered == [first, second, first, first]


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
