"""Results of tools, and references to items of earlier responses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rest.conftest import Start
from tests.rest.openai_calls import sent, stored
from tests.rest.response_calls import PATH, WEATHER, create, message, streamed
from tests.rest.rest_service import Service, running

TOOLS = {"tools": [WEATHER]}
ASKED = "the weather [[tool_call]]"


def calls_in(response: dict[str, Any]) -> list[str]:
    return [item["call_id"] for item in response["output"] if item["type"] == "function_call"]


def outputs(response: dict[str, Any], said: str = "rain") -> list[dict[str, Any]]:
    return [
        {"type": "function_call_output", "call_id": identity, "output": said}
        for identity in calls_in(response)
    ]


def roles(service: Service) -> list[str]:
    return [m["role"] for m in sent(service)["messages"]]


async def test_results_of_tools_follow_their_calls(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        first = await create(service, ASKED, **TOOLS)
        second = await create(
            service, outputs(first), previous_response_id=first["id"], metadata={"a": "b"}, **TOOLS
        )
        assert roles(service) == ["user", "assistant", "tool"]
        _, call, result = sent(service)["messages"]
        assert (result["content"], result["tool_call_id"]) == ("rain", call["tool_calls"][0]["id"])
        session_id = first["conversation"]["id"].removeprefix("conv_")
        assert [m["role"] for m in await stored(service, session_id)] == [
            "user", "assistant", "assistant",
        ]  # fmt: skip
        await create(service, "and now?", previous_response_id=second["id"])
        assert roles(service) == ["user", "assistant", "tool", "assistant", "user"]
        again = await service.get(f"{PATH}/{second['id']}")
        assert await again.json() == second
        assert second["metadata"] == {"a": "b"}
        for response, kind in ((first, "message"), (second, "function_call_output")):
            items = await (await service.get(f"{PATH}/{response['id']}/input_items")).json()
            assert [item["type"] for item in items["data"]] == [kind]


async def test_a_message_may_come_with_the_results_and_lead_to_more_calls(start: Start) -> None:
    service = await start(switch_dialect="openai")
    first = await create(service, ASKED, **TOOLS)
    asked = [*outputs(first), message("user", "once more [[tool_call]]")]
    conversation = first["conversation"]["id"]
    events = await streamed(service, asked, conversation=conversation, **TOOLS)
    assert events[-1]["type"] == "response.completed"
    assert roles(service) == ["user", "assistant", "assistant", "tool", "user"]
    await create(service, outputs(events[-1]["response"]), conversation=conversation, **TOOLS)
    assert roles(service) == [
        "user", "assistant", "assistant", "tool", "user", "assistant", "tool",
    ]  # fmt: skip


@pytest.mark.parametrize("question", ["x [[only_tool_call]]", ASKED, "x [[two_tool_calls]]"])
@pytest.mark.parametrize("order", ["after", "before", "between"])
async def test_a_message_stands_anywhere_among_the_results(
    start: Start, question: str, order: str
) -> None:
    service = await start(switch_dialect="openai")
    first = await create(service, question, **TOOLS)
    results, said = outputs(first), message("user", "and now?")
    place = {"after": len(results), "before": 0, "between": 1}[order]
    asked = [*results[:place], said, *results[place:]]
    second = await create(service, asked, previous_response_id=first["id"], **TOOLS)
    for _ in range(2):  # then and in the history
        messages = sent(service)["messages"]
        (called,) = [m for m in messages if m.get("tool_calls")]
        behind = messages[messages.index(called) + 1 :][: len(results)]
        assert [m.get("tool_call_id") for m in behind] == calls_in(first)
        texts = [m["content"] for m in messages if m["role"] == "user"]
        assert sum("and now?" in text for text in texts) == 1
        await create(service, "more", previous_response_id=second["id"], **TOOLS)
    items = await (await service.get(f"{PATH}/{second['id']}/input_items?order=asc")).json()
    kinds = ["function_call_output"] * len(results)
    assert [item["type"] for item in items["data"]] == [*kinds[:place], "message", *kinds[place:]]


@pytest.mark.parametrize("between", [[], [message("user", "wait")], [message("assistant", "well")]])
async def test_a_conversation_that_a_client_brings_is_sent_in_turns(
    start: Start, between: list[dict[str, Any]]
) -> None:
    service = await start(switch_dialect="openai")
    call = {"type": "function_call", "call_id": "c1", "name": "standin_tool", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
    asked = [message("user", "one"), message("user", "two"), call, *between, result]
    await create(service, [*asked, message("user", "three")], **TOOLS)
    messages = sent(service)["messages"]
    (called,) = [m for m in messages if m.get("tool_calls")]
    assert messages[messages.index(called) + 1]["content"] == "rain"
    text = " ".join(m["content"] or "" for m in messages)
    assert all(word in text for word in ("one", "two", "three")), messages


async def test_results_of_tools_that_an_sdk_sends_again_are_one_response(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        first = await create(service, ASKED, **TOOLS)
        for named in (
            {"conversation": first["conversation"]["id"]},
            {"previous_response_id": first["id"]},
        ):
            body = {"input": outputs(first), **named, **TOOLS}
            calls = service.switch.total.calls
            answers = [
                await service.post(PATH, body, headers={"x-stainless-retry-count": str(count)})
                for count in range(3)
            ]
            assert [answer.status for answer in answers] == [200] * 3
            assert len({(await answer.json())["id"] for answer in answers}) == 1
            assert service.switch.total.calls == calls + 1


async def test_results_without_their_calls_are_400(start: Start) -> None:
    service = await start(switch_dialect="openai")
    first = await create(service, "x [[two_tool_calls]]", **TOOLS)
    both, before = outputs(first), {"previous_response_id": first["id"]}
    plain = {"previous_response_id": (await create(service, "hello"))["id"]}
    for asked, fields in (
        (both, {}),
        (both, plain),
        (both[:1], before),
        ([*both, {**both[0], "call_id": "call_nope"}], before),
    ):
        answer = await service.post(PATH, {"input": asked, **fields})
        error = (await answer.json())["error"]
        assert (answer.status, error["param"]) == (400, "input"), error
    assert (await create(service, both, **before))["status"] == "completed"


async def test_an_upstream_without_tools_takes_no_results(service: Service) -> None:
    first = await create(service, ASKED)
    body = {"input": outputs(first), "previous_response_id": first["id"]}
    answer = await service.post(PATH, body)
    assert (answer.status, (await answer.json())["error"]["param"]) == (400, "input")


async def test_items_are_referred_to_by_their_ids(start: Start) -> None:
    service = await start(switch_dialect="openai")
    first = await create(service, ASKED, **TOOLS)
    said, called = ({"type": "item_reference", "id": item["id"]} for item in first["output"])
    number = int(first["id"].removeprefix("resp_"))
    asked = {"type": "item_reference", "id": f"msg_{number - 1}"}
    await create(service, [asked, said, called, *outputs(first)], **TOOLS)
    assert roles(service) == ["user", "assistant", "tool"]
    assert sent(service)["messages"][1]["tool_calls"][0]["id"] == calls_in(first)[0]
    for identity in ("msg_999999", "fc_999999", "rs_1", "x", None):
        wrong = [{"type": "item_reference", "id": identity}, message("user", "hello")]
        answer = await service.post(PATH, {"input": wrong})
        error = (await answer.json())["error"]
        assert (answer.status, error["param"]) == (400, "input[0].id"), identity


async def test_named_items_have_no_more_bytes_than_a_body_that_brings_them(both: Service) -> None:
    large = {"items": [message("assistant", "x" * 200_000)]}
    made = await (await both.post("/v1/conversations", large)).json()
    (item,) = (await (await both.get(f"/v1/conversations/{made['id']}/items")).json())["data"]
    named = {"type": "item_reference", "id": item["id"]}
    for count, status in ((5, 200), (6, 413), (900, 413)):
        answer = await both.post(PATH, {"input": [named] * count + [message("user", "hello")]})
        assert answer.status == status, await answer.text()
    assert (await answer.json())["error"]["code"] == "payload_too_large"
