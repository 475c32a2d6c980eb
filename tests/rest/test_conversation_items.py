"""Items of all kinds that are added to a conversation: stored, listed, sent, and retried."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import openai
import pytest

from tests.rest.openai_calls import REPEATED, sdk, sent, stored, two_processes
from tests.rest.response_calls import HEART, WEATHER, create, message
from tests.rest.rest_service import Service, running
from tests.rest.test_conversations import listed, opened, said

REASONING = {
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "It must look."}],
    "content": [{"type": "reasoning_text", "text": "Is there a window?"}],
    "encrypted_content": "gAAAAAB",
}
FIRST = {"x-stainless-retry-count": "0"}


def call(identity: str, arguments: str = "{}") -> dict[str, Any]:
    return {
        "type": "function_call", "call_id": identity, "name": "look", "arguments": arguments,
    }  # fmt: skip


def result(identity: str, output: Any = "rain") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": identity, "output": output}


def sent_call(*identities: str, text: str | None = None) -> dict[str, Any]:
    """The message of the model that has calls."""
    calls = [
        {"id": one, "type": "function", "function": {"name": "look", "arguments": "{}"}}
        for one in identities
    ]
    return {"role": "assistant", "content": text, "tool_calls": calls}


def sent_result(identity: str, output: Any = "rain") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identity, "content": output}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


async def test_a_turn_with_tools_is_kept_across_a_restart(database_url: str) -> None:
    """The calls of the Agents SDK's OpenAIConversationsSession, whose items are those of a run."""
    turn = [
        message("user", "Is it raining?"), REASONING, call("c-1", '{"at": "Quito"}'),
        result("c-1", "it rains"), message("assistant", "It is."),
    ]  # fmt: skip
    async with running(database_url, switch_dialect="openai") as service, sdk(service) as client:
        made = await client.conversations.create(items=[])
        added = await client.conversations.items.create(made.id, items=turn)
        first = await listed(service, f"/v1/conversations/{made.id}")
        assert [item.id for item in added.data] == [item["id"] for item in first]
    async with running(database_url, switch_dialect="openai") as service, sdk(service) as client:
        items = client.conversations.items
        await items.create(made.id, items=turn)
        both = await listed(service, f"/v1/conversations/{made.id}")
        assert both[:5] == first
        assert [item["type"] for item in both] == [item["type"] for item in turn] * 2
        assert first[1] == {**REASONING, "id": first[1]["id"]}
        assert first[2] == {**turn[2], "id": first[2]["id"], "status": "completed"}
        assert first[3] == {**turn[3], "id": first[3]["id"], "status": "completed"}
        newest = [item.id async for item in await items.list(made.id, limit=2)]
        assert newest == [item["id"] for item in reversed(both)]
        for item in both:
            found = await items.retrieve(item["id"], conversation_id=made.id)
            assert found.to_dict() == item
        for item in both[5:8]:
            await items.delete(item["id"], conversation_id=made.id)
            with pytest.raises(openai.NotFoundError):
                await items.retrieve(item["id"], conversation_id=made.id)
        left = [item async for item in await items.list(made.id, order="asc")]
        assert [item.id for item in left] == [i["id"] for i in [*both[:5], *both[8:]]]


async def test_calls_and_results_are_sent_where_they_were_added(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        path = await opened(service, message("user", "one"), message("assistant", "I look."))
        conversation = path.rpartition("/")[2]
        steps = [call("a"), call("b"), result("b", "sun"), result("a"), REASONING, call("c")]
        more = [result("c", [{"type": "input_text", "text": "see"}, HEART])]
        await service.post(f"{path}/items", {"items": [*steps, *more]})
        await service.post(f"{path}/items", {"items": [message("assistant", "It rains.")]})
        first = await create(service, "two", conversation=conversation)
        picture = {"type": "image_url", "image_url": {"url": HEART["image_url"]}}
        turn = [
            user("one"), sent_call("a", "b", text="I look."),
            sent_result("a"), sent_result("b", "sun"), sent_call("c"),
            sent_result("c", [{"type": "text", "text": "see"}, picture]), assistant("It rains."),
        ]  # fmt: skip
        assert sent(service)["messages"] == [*turn, user("two")]
        added = [message("user", "three"), call("d"), result("d")]
        await service.post(f"{path}/items", {"items": added})
        answer = assistant(first["output"][0]["content"][0]["text"])
        await create(service, "four", conversation=conversation)
        last = [user("three\n\nfour"), sent_call("d"), sent_result("d")]
        asked = [*turn, user("two"), answer, *last]
        assert sent(service)["messages"] == asked
        *_, question, _ = await stored(service, conversation.removeprefix("conv_"))
        again = {"message": "four", "metadata": {"regenerate": question["id"]}}
        assert (await service.post("/operator/chat", again)).status == 200
        assert sent(service)["messages"] == asked
        await create(service, [message("user", [HEART])], conversation=conversation)
        assert len(sent(service)["messages"]) == len(asked) + 2


async def test_a_call_without_its_result_is_not_sent(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        path = await opened(
            service, call("before"), result("before"), message("user", "one"), call("a"),
            result("b"), message("assistant", "two"), call("c"), message("user", "three"),
            result("c"), result("d"), call("d"), call("d"), message("assistant", "four"),
        )  # fmt: skip
        await create(service, "five", conversation=path.rpartition("/")[2])
        assert sent(service)["messages"] == [
            user("one"), assistant("two"), user("three"), sent_call("d"), sent_result("d"),
            assistant("four"), user("five"),
        ]  # fmt: skip


async def test_an_upstream_of_text_is_sent_the_texts(start: Any) -> None:
    service = await start()
    path = await opened(
        service, message("user", "one"), call("a"), result("a"), message("assistant", "two"),
        message("user", "three"), call("b"), result("b"),
    )  # fmt: skip
    await create(service, "four", conversation=path.rpartition("/")[2])
    asked = sent(service)
    assert asked["metadata"]["history"] == [user("one"), assistant("two")]
    assert asked["messages"] == [user("three\n\nfour")]


async def test_items_before_a_question_come_before_the_calls_that_it_led_to(
    database_url: str,
) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        path = await opened(service, message("user", "I am Ana."))
        conversation, tools = path.rpartition("/")[2], [WEATHER]
        asked = "look [[only_tool_call]]"
        first = await create(service, asked, conversation=conversation, tools=tools)
        (called,) = first["output"]
        await create(service, [result(called["call_id"])], conversation=conversation)
        roles = [m["role"] for m in sent(service)["messages"]]
        assert roles == ["user", "assistant", "tool"]
        assert sent(service)["messages"][0]["content"] == f"I am Ana.\n\n{asked}"


async def test_an_added_item_can_be_named_in_the_input(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        told = [message("user", "one"), message("assistant", "It rains.")]
        added = [told[0], call("a"), result("a"), REASONING, told[1]]
        path = await opened(service, *added)
        items = await listed(service, path)
        named = [{"type": "item_reference", "id": item["id"]} for item in items]
        await create(service, [*named, message("user", "two")])
        assert sent(service)["messages"] == [
            user("one"), sent_call("a"), sent_result("a"), assistant("It rains."), user("two"),
        ]  # fmt: skip
        wrong = [items[0]["id"] + "_0", items[1]["id"] + "_1", "rs_" + items[0]["id"][4:]]
        for identity in wrong:
            body = {"input": [{"type": "item_reference", "id": identity}]}
            answer = await service.post("/v1/responses", body)
            assert (await answer.json())["error"]["param"] == "input[0].id", identity


async def test_a_repeated_attempt_adds_its_items_once(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        path = await opened(service)
        body = {"items": [message("user", "one"), call("a"), result("a")]}

        async def add(headers: dict[str, str], sends: Any = body) -> Any:
            answer = await service.post(f"{path}/items", sends, headers=headers)
            return answer.status, await answer.json()

        first = await add(FIRST)
        assert await add(REPEATED) == first
        second = await add(FIRST)
        assert second[1]["first_id"] != first[1]["first_id"], "the same was said twice"
        assert await add(REPEATED) == second
        assert len(await listed(service, path)) == 6
        overtaken, late = await asyncio.gather(
            add(REPEATED, {"items": [message("user", "late")]}),
            add(FIRST, {"items": [message("user", "late")]}),
        )
        assert overtaken == late
        assert len(await listed(service, path)) == 7
        named = {"Idempotency-Key": "mine"}
        third = await add(named)
        assert await add(named) == third
        status, refused = await add(named, {"items": [message("user", "other")]})
        assert (status, refused["error"]["code"]) == (409, "conflict")
        status, refused = await add({"Idempotency-Key": "x" * 300})
        assert (status, refused["error"]["param"]) == (400, "Idempotency-Key")
        assert len(await listed(service, path)) == 10
        other = await opened(service)
        answer = await service.post(f"{other}/items", body, headers=REPEATED)
        assert answer.status == 200
        assert len(await listed(service, other)) == 3


async def test_attempts_on_two_processes_add_their_items_once(
    postgresql_url: str, bus_url: str
) -> None:
    async with two_processes(postgresql_url, bus_url) as (one, other):
        path = await opened(one)
        for turn in range(10):
            body = {"items": [message("user", f"turn {turn}"), call("a"), result("a")]}
            answers = await asyncio.gather(
                one.post(f"{path}/items", body, headers=FIRST),
                other.post(f"{path}/items", body, headers=REPEATED),
                one.post(f"{path}/items", body, headers={"x-stainless-retry-count": "2"}),
            )
            assert [answer.status for answer in answers] == [200] * 3
            ids = [(await answer.json())["first_id"] for answer in answers]
            assert len(set(ids)) == 1
        assert len(await listed(one, path)) == 30


async def test_what_an_added_item_may_have_is_bounded(both: Service) -> None:
    path = await opened(both)
    large = "x" * 70_000
    for items, param in (
        ([call("a", large)], "items[0]"),
        ([message("user", "a"), {**REASONING, "encrypted_content": large}], "items[1]"),
        ([message("user", [{**HEART, "image_url": f"data:image/png;base64,{large}"}])], "items[0]"),
        ([result("a", "x" * 200_001)], "items[0].output"),
        ([call("x" * 201)], "items[0].call_id"),
    ):
        answer = await both.post(f"{path}/items", {"items": items})
        error = (await answer.json())["error"]
        assert (answer.status, error["param"]) == (400, param)
    longest = result("a", "\U0001f600" * 200_000)
    raw, kind = msgspec.json.encode({"items": [longest]}), {"Content-Type": "application/json"}
    answer = await both.call("POST", f"{path}/items", data=raw, headers=kind)
    assert answer.status == 200
    (kept,) = await listed(both, path)
    assert kept["output"] == longest["output"]


async def test_a_long_conversation_of_items_is_sent_as_far_as_its_limits_go(
    database_url: str,
) -> None:
    limits = {"history_messages": 8, "history_chars": 60}
    async with running(database_url, switch_dialect="openai", **limits) as service:
        path = await opened(service)
        for turn in range(6):
            items = [
                message("user", f"q{turn}"),
                call("a"),
                result("a"),
                message("assistant", f"a{turn}"),
            ]
            await service.post(f"{path}/items", {"items": items})
        conversation = path.rpartition("/")[2]
        await create(service, "last", conversation=conversation)
        turns = [
            [user(f"q{n}"), sent_call("a"), sent_result("a"), assistant(f"a{n}")] for n in (4, 5)
        ]
        assert sent(service)["messages"] == [*turns[0], *turns[1], user("last")]
        big = [message("user", "q"), call("a"), result("a", "x" * 70), message("assistant", "a")]
        await service.post(f"{path}/items", {"items": big})
        await create(service, "last", conversation=conversation)
        assert sent(service)["messages"] == [user("last")], "a turn is sent whole or not at all"


async def test_other_clients_see_the_items(both: Service) -> None:
    async with sdk(both) as client:
        made = await client.conversations.create(
            items=[message("user", "one"), call("a"), result("a", "rain"), REASONING]
        )
        assert said((await client.conversations.items.list(made.id)).data[-1:]) == [("user", "one")]
    session_id = made.id.removeprefix("conv_")
    roles = [(m["role"], m["content"]) for m in await stored(both, session_id)]
    assert roles == [("user", "one"), ("tool", ""), ("tool", "rain"), ("tool", "")]
    messages = await (await both.get(f"/ai/chat/{session_id}/messages")).json()
    assert [m["role"] for m in messages] == ["user"], "the AI SDK knows no other role"
