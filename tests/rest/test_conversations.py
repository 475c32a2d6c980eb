"""OpenAI's conversations in front: sessions, and their messages as items."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from openai.types.conversations import Conversation, ConversationItem
from pydantic import TypeAdapter

from operator_svc.db import AsJson
from tests.rest import open_responses
from tests.rest.conftest import Start
from tests.rest.openai_calls import sdk, sent, stored
from tests.rest.response_calls import HEART, SLOW, WEATHER, create, message
from tests.rest.rest_service import Service, running
from tests.rest.test_access import tokens_file

PATH = "/v1/conversations"
PAGE_BYTES = 4 * 2**20
ITEM: TypeAdapter[Any] = TypeAdapter(ConversationItem)


def said(items: Any) -> list[tuple[str, str]]:
    """The roles and texts of items of the SDK."""
    return [(item.role, item.content[0].text) for item in items]


async def opened(service: Service, *items: dict[str, Any]) -> str:
    """The path of a new conversation."""
    answer = await service.post(PATH, {"items": list(items)})
    body = await answer.json()
    assert answer.status == 200, body
    Conversation.model_validate(body)
    return f"{PATH}/{body['id']}"


async def listed(service: Service, path: str, **query: Any) -> list[dict[str, Any]]:
    """The items of a conversation, oldest first, each as the SDK reads it and as Open Responses
    has it; of all pages."""
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        answer = await service.get(f"{path}/items", params={"order": "asc", **query, **more})
        page = await answer.json()
        assert answer.status == 200, page
        for item in page["data"]:
            ITEM.validate_python(item)
            open_responses.check("item", item)
        found += page["data"]
        if not page["has_more"]:
            return found
        assert page["last_id"] == page["data"][-1]["id"]
        more = {"after": page["last_id"]}


async def test_the_sdk_makes_changes_and_deletes_a_conversation(both: Service) -> None:
    async with sdk(both) as client:
        made = await client.conversations.create(metadata={"topic": "modules"})
        assert (made.object, made.metadata) == ("conversation", {"topic": "modules"})
        assert await client.conversations.retrieve(made.id) == made
        changed = await client.conversations.update(made.id, metadata={"a": "b"})
        assert (changed.id, changed.metadata) == (made.id, {"a": "b"})
        assert await client.conversations.retrieve(made.id) == changed
        deleted = await client.conversations.delete(made.id)
        assert (deleted.id, deleted.object, deleted.deleted) == (
            made.id, "conversation.deleted", True,
        )  # fmt: skip
        for call in (
            client.conversations.retrieve(made.id),
            client.conversations.update(made.id, metadata={}),
            client.conversations.delete(made.id),
            client.conversations.items.list(made.id),
            client.conversations.items.create(made.id, items=[message("user", "hello")]),
        ):
            with pytest.raises(openai.NotFoundError) as raised:
                await call
            assert raised.value.code == "session_not_found"


async def test_the_sdk_adds_lists_and_deletes_items(both: Service) -> None:
    async with sdk(both) as client:
        items = client.conversations.items
        first = message("user", "one")
        made = await client.conversations.create(items=[first, message("assistant", "two")])
        added = await items.create(made.id, items=[message("user", "three"), first])
        assert said(added.data) == [("user", "three"), ("user", "one")]
        all_said = [("user", "one"), ("assistant", "two"), *said(added.data)]
        assert said([item async for item in await items.list(made.id, order="asc")]) == all_said
        newest = await items.list(made.id, limit=3)
        assert (said(newest.data), newest.has_more) == (all_said[:0:-1], True)
        found = await items.retrieve(newest.data[0].id, conversation_id=made.id)
        assert found == newest.data[0]
        left = await items.delete(found.id, conversation_id=made.id)
        assert left.id == made.id
        with pytest.raises(openai.NotFoundError) as raised:
            await items.retrieve(found.id, conversation_id=made.id)
        assert raised.value.code == "message_not_found"
        assert said([i async for i in await items.list(made.id, order="asc")]) == all_said[:3]
        session = await stored(both, made.id.removeprefix("conv_"))
        assert [(m["role"], m["content"]) for m in session] == all_said[:3]


async def test_items_are_context_of_the_responses_that_follow(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        path = await opened(
            service,
            message("developer", "be kind"),
            message("user", "I am Ana."),
            message("user", "I live in Quito."),
        )
        conversation = path.rpartition("/")[2]
        first = await create(service, "Who am I?", conversation=conversation)
        told = "I am Ana.\n\nI live in Quito.\n\nWho am I?"
        system = {"role": "system", "content": "be kind"}
        assert sent(service)["messages"] == [system, {"role": "user", "content": told}]
        added = [message("user", "And Bob?"), message("assistant", "He is there, too.")]
        await service.post(f"{path}/items", {"items": added})
        await create(service, [message("user", [HEART])], conversation={"id": conversation})
        text = first["output"][0]["content"][0]["text"]
        assert [m["content"] for m in sent(service)["messages"][:-1]] == [
            "be kind", told, text, "And Bob?", "He is there, too.",
        ]  # fmt: skip
        roles = [item["role"] for item in await listed(service, path)]
        assert roles == ["system", *["user"] * 3, "assistant", "user", "assistant", "user",
                         "assistant"]  # fmt: skip


async def test_an_item_before_a_picture_is_a_part_beside_it(start: Start) -> None:
    service = await start(switch_dialect="openai")
    picture = message("user", [{"type": "input_text", "text": "see"}, HEART])
    path = await opened(service, picture, message("assistant", "a heart"), message("user", "so"))
    conversation = path.rpartition("/")[2]
    await create(service, [picture], conversation=conversation)
    *_, (*_, last) = sent(service)["messages"], sent(service)["messages"]
    assert [part["type"] for part in last["content"]] == ["text", "text", "image_url"]
    (kept, *_) = await listed(service, path)
    assert [part["type"] for part in kept["content"]] == ["input_text", "input_image"]
    assert kept["content"][1]["image_url"] == HEART["image_url"]


async def test_calls_of_tools_and_their_results_are_items(start: Start) -> None:
    service = await start(switch_dialect="openai")
    path = await opened(service)
    conversation = path.rpartition("/")[2]
    first = await create(
        service, "weather [[only_tool_call]]", conversation=conversation, tools=[WEATHER]
    )
    (call,) = first["output"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
    await create(service, [result], previous_response_id=first["id"])
    items = await listed(service, path, limit=1)
    assert [item["type"] for item in items] == [
        "message", "function_call", "function_call_output", "message",
    ]  # fmt: skip
    assert items[1] == call
    assert [item["id"] for item in await listed(service, path)] == [i["id"] for i in items]
    answer = await service.get(f"{path}/items?limit=100")
    newest_first = [item["id"] for item in (await answer.json())["data"]]
    assert newest_first == [item["id"] for item in reversed(items)]
    for item in items:
        assert await (await service.get(f"{path}/items/{item['id']}")).json() == item


async def test_deleting_an_item_takes_the_replies_to_it_along(start: Start) -> None:
    service = await start(switch_dialect="openai")
    path = await opened(service)
    conversation = path.rpartition("/")[2]
    await create(service, "one", conversation=conversation)
    begun = await create(service, SLOW, conversation=conversation, background=True)
    items = await listed(service, path)
    running_reply = int(begun["id"].removeprefix("resp_"))
    question = f"msg_{running_reply - 1}"
    assert question in [item["id"] for item in items]
    answer = await service.call("DELETE", f"{path}/items/{question}")
    assert answer.status == 200
    assert (await service.get(f"/v1/responses/{begun['id']}")).status == 404
    assert [item["role"] for item in await listed(service, path)] == ["user", "assistant"]
    reply = (await listed(service, path))[1]
    assert (await service.call("DELETE", f"{path}/items/{reply['id']}")).status == 200
    assert [item["role"] for item in await listed(service, path)] == ["user"]


async def test_a_page_of_items_ends_at_four_mebibytes(service: Service) -> None:
    large = msgspec.json.encode({"items": [message("assistant", "\U0001f600" * 200_000)]})
    path = await opened(service)
    for _ in range(6):
        added = await service.call(
            "POST", f"{path}/items", data=large, headers={"Content-Type": "application/json"}
        )
        assert added.status == 200
    for order in ("asc", "desc"):
        answer = await service.get(f"{path}/items?limit=100&order={order}")
        page = await answer.json()
        assert (len(page["data"]), page["has_more"]) == (5, True)
        assert len(msgspec.json.encode(page)) <= PAGE_BYTES + 1000
    assert len(await listed(service, path)) == 6


async def test_items_of_many_messages_with_large_calls_take_little_memory(service: Service) -> None:
    path, texts = await opened(service), [message("user", "hello")] * 20
    added = await (await service.post(f"{path}/items", {"items": texts})).json()
    ids = [int(item["id"].removeprefix("msg_")) for item in added["data"]]
    async with service.operator.core.database.transaction() as tx:
        await tx.executemany(
            "INSERT INTO operator_tool_call (message_id, tool_name, status, result, created_at)"
            " VALUES (:id, 't', 'ok', :large, '2026-01-01T00:00:00.000000Z')",
            [{"id": n, "large": AsJson("x" * 2**20)} for n in ids for _ in range(3)],
        )
    tracemalloc.start()
    try:
        answer = await service.get(f"{path}/items?limit=1&order=asc")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [item["id"] for item in (await answer.json())["data"]] == [f"msg_{ids[0]}"]
    assert most < 30 * 2**20


async def test_a_conversation_is_its_owners_alone(start: Start, tmp_path: Path) -> None:
    service = await start(
        tokens_file=tokens_file(
            tmp_path,
            {"name": "ana", "token": "token-of-ana", "user_id": "ana"},
            {"name": "bob", "token": "token-of-bob", "user_id": "bob"},
        )
    )
    body = {"items": [message("user", "hello")], "metadata": {"a": "b"}}
    made = await (await service.post(PATH, body, token="token-of-ana")).json()
    path = f"{PATH}/{made['id']}"
    (item,) = (await (await service.get(f"{path}/items", token="token-of-ana")).json())["data"]
    for method, tail, sends in (
        ("GET", "", None),
        ("POST", "", {"metadata": {}}),
        ("DELETE", "", None),
        ("GET", "/items", None),
        ("GET", f"/items?after={item['id']}", None),
        ("POST", "/items", {"items": body["items"]}),
        ("GET", f"/items/{item['id']}", None),
        ("DELETE", f"/items/{item['id']}", None),
    ):
        answer = await service.call(method, path + tail, json=sends, token="token-of-bob")
        error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (404, "session_not_found"), (method, tail)
    asked = {"input": "hello", "conversation": made["id"]}
    answer = await service.post("/v1/responses", asked, token="token-of-bob")
    assert (answer.status, (await answer.json())["error"]["param"]) == (404, "conversation")
    own = await (await service.post(PATH, {}, token="token-of-bob")).json()
    foreign = f"{PATH}/{own['id']}/items"
    answer = await service.get(f"{foreign}/{item['id']}", token="token-of-bob")
    assert (answer.status, (await answer.json())["error"]["code"]) == (404, "message_not_found")
    answer = await service.get(f"{foreign}?after={item['id']}", token="token-of-bob")
    assert (answer.status, (await answer.json())["error"]["param"]) == (400, "after")
    kept = await (await service.get(path, token="token-of-ana")).json()
    assert kept == made


async def test_any_session_is_a_conversation(service: Service) -> None:
    chat = await service.chat("hello", session_id="s-1")
    path = f"{PATH}/conv_s-1"
    assert (await (await service.get(path)).json())["metadata"] == {}
    items = await listed(service, path)
    assert [item["id"] for item in items] == [
        f"msg_{chat['message_id']}",
        f"msg_{chat['reply_id']}",
    ]
    for wrong in ("s-1", "conv_", "conv_nope", "resp_1", "conv_a%20b"):
        answer = await service.get(f"{PATH}/{wrong}")
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "session_not_found")
    for wrong in ("msg_999999", "fc_1", "fco_1_0", "msg_x", "x", f"msg_{2**63 - 1}"):
        answer = await service.get(f"{path}/items/{wrong}")
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "message_not_found")
        answer = await service.get(f"{path}/items?after={wrong}")
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "after")


async def test_watchers_of_a_session_see_what_is_added_and_deleted(both: Service) -> None:
    path = await opened(both, message("user", "one"))
    session_id = path.rpartition("_")[2]
    await both.post(f"{path}/items", {"items": [message("user", "two"), message("user", "three")]})
    (first, *_) = await listed(both, path)
    await both.call("DELETE", f"{path}/items/{first['id']}")
    answer = await both.get(f"/operator/session/{session_id}/events")
    events = (await answer.json())["events"]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    assert [event["event"] for event in events] == [
        "session.created", "message.deleted", "message.created", "message.created",
        "message.deleted",
    ]  # fmt: skip
    assert [e["data"]["content"] for e in events if e["event"] == "message.created"] == [
        "two", "three",
    ]  # fmt: skip
