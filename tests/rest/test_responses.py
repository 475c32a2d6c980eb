"""OpenAI's Responses in front, with its own SDK."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.fakes.eventually import eventually
from tests.rest.conftest import Start
from tests.rest.openai_calls import sdk, sent, stored
from tests.rest.response_calls import (
    PATH,
    SLOW,
    WEATHER,
    create,
    message,
    streamed,
    text_of,
)
from tests.rest.rest_service import Service


async def test_the_sdk_creates_streams_and_retrieves(both: Service) -> None:
    async with sdk(both) as client:
        whole = await client.responses.create(
            model="operator", input="hello", instructions="be brief", metadata={"a": "b"}
        )
        assert whole.output_text == "[stand-in] You said: hello"
        again = await client.responses.retrieve(whole.id)
        assert again.model_dump() == whole.model_dump()
        assert (again.instructions, again.metadata) == ("be brief", {"a": "b"})
        async with client.responses.stream(model="operator", input="hello") as stream:
            async for _ in stream:
                pass
            final = await stream.get_final_response()
        assert final.output_text == whole.output_text
        items = await client.responses.input_items.list(whole.id)
        assert [(item.role, item.content[0].text) for item in items.data] == [("user", "hello")]


async def test_the_sdk_polls_and_cancels_in_the_background(both: Service) -> None:
    async with sdk(both) as client:
        begun = await client.responses.create(input=SLOW, background=True)
        assert (begun.status, begun.background) == ("in_progress", True)
        cancelled = await client.responses.cancel(begun.id)
        assert cancelled.status == "cancelled"
        assert (await client.responses.cancel(begun.id)).model_dump() == cancelled.model_dump()
        done = await client.responses.create(input="hello", background=True)

        async def completed() -> bool:
            return bool((await client.responses.retrieve(done.id)).status == "completed")

        await eventually(completed)


async def test_previous_response_and_conversation_continue_a_session(start: Start) -> None:
    service = await start(switch_dialect="openai")
    first = await create(service, "one", instructions="be brief")
    second = await create(service, "two", previous_response_id=first["id"])
    third = await create(service, "three", conversation=second["conversation"])
    assert {r["conversation"]["id"] for r in (first, second, third)} == {
        first["conversation"]["id"]
    }
    assert second["previous_response_id"] == first["id"]
    assert [m["role"] for m in sent(service)["messages"]] == [
        "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip


async def test_parameters_reach_the_upstream_and_a_regenerate_sends_them_again(
    start: Start,
) -> None:
    service = await start(switch_dialect="openai")
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    response = await create(
        service,
        [message("developer", "in prose"), message("user", "hello")],
        instructions="be brief", temperature=0.3, max_output_tokens=50, top_k=5, tools=[WEATHER],
        tool_choice={"type": "function", "name": "standin_tool"}, reasoning={"effort": "low"},
        text={"format": schema},
    )  # fmt: skip
    first = sent(service)
    function = {name: value for name, value in WEATHER.items() if name != "type"}
    expected = {
        "temperature": 0.3, "max_tokens": 50, "top_k": 5, "reasoning_effort": "low",
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "standin_tool"}},
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "n", "schema": {"type": "object"}, "strict": True}},
        "messages": [{"role": "system", "content": "be brief\n\nin prose"},
                     {"role": "user", "content": "hello"}],
    }  # fmt: skip
    assert {name: first[name] for name in expected} == expected
    assert response["tools"][0]["name"] == "standin_tool"
    assert response["text"]["format"]["type"] == "json_schema"
    session_id = response["conversation"]["id"].removeprefix("conv_")
    asked = (await stored(service, session_id))[0]
    await service.chat(session_id=session_id, metadata={"regenerate": asked["id"]})
    assert sent(service) == first


ENDS = [
    ("[[length]]", "incomplete", "max_output_tokens"),
    ("[[filtered]]", "incomplete", "content_filter"),
    ("[[cut]] [[after=2]]", "failed", None),
    ("[[500]]", "failed", None),
]
"""Scripts of the upstream, and the status of their response with its reason."""


async def test_a_response_ends_as_its_reply_does(start: Start) -> None:
    service = await start(switch_dialect="openai")
    for script, status, reason in ENDS:
        events = await streamed(service, f"x {script}")
        assert events[-1]["type"] == f"response.{status}"
        response = events[-1]["response"]
        details = response["incomplete_details"] or {}
        assert (response["status"], details.get("reason")) == (status, reason)
        assert (response["error"] is None) == (status != "failed")
        texts = [item["content"][0]["text"] for item in response["output"]]
        assert "".join(texts) == text_of(events)
        whole = await service.post(PATH, {"input": f"x {script}"})
        assert whole.status == (502 if status == "failed" else 200)
        if status == "failed":
            assert whole.headers["x-should-retry"] == "false"
            told = (await whole.json())["error"]["message"]
            assert told == f"{response['error']['message']}; your message is stored"
            kept = await (await service.get(f"{PATH}/{response['id']}")).json()
            assert kept["error"] == response["error"]
    assert response["error"]["message"] == "Switch answered with HTTP status 500"


async def test_fields_that_are_null_or_say_no_type_ask_for_nothing(service: Service) -> None:
    formats: tuple[Any, ...] = (None, {}, {"name": None})
    for text in (None, {}, *({"format": form} for form in formats)):
        body = {"input": "hello", "text": text, "reasoning": {"effort": None}, "tools": None}
        response = await service.post(PATH, body)
        assert response.status == 200, text
        assert (await response.json())["status"] == "completed"


async def test_an_unknown_response_is_not_found(service: Service) -> None:
    for identity in ("resp_9", "resp_x", "x"):
        for method, path in (("GET", ""), ("POST", "/cancel"), ("GET", "/input_items")):
            response = await service.call(method, f"{PATH}/{identity}{path}")
            assert response.status == 404, path
    async with sdk(service) as client:
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve("resp_9")


async def test_a_deleted_response_takes_its_message_along_unless_that_has_another(
    both: Service,
) -> None:
    async with sdk(both) as client:
        first = await client.responses.create(input="hello")
        session_id = first.conversation.id.removeprefix("conv_")
        asked = (await stored(both, session_id))[0]
        again = await both.chat(session_id=session_id, metadata={"regenerate": asked["id"]})
        await client.responses.delete(first.id)
        assert [m["id"] for m in await stored(both, session_id)] == [
            asked["id"], again["reply_id"],
        ]  # fmt: skip
        with pytest.raises(openai.NotFoundError):
            await client.responses.delete(first.id)
        slow = await client.responses.create(
            input=SLOW, background=True, previous_response_id=f"resp_{again['reply_id']}"
        )
        await client.responses.delete(slow.id)
        await client.responses.delete(f"resp_{again['reply_id']}")
    assert await stored(both, session_id) == []
    await eventually(lambda: both.switch.total.running == 0)
    log = await (await both.get(f"/operator/session/{session_id}/events")).json()
    events = log["events"]
    assert [event["seq"] for event in events] == list(range(1, log["seq"] + 1))
    assert {event["event"] for event in events} == {"session.created", "message.deleted"}
    assert "hello" not in str(events)
