"""Responses against the schema of Open Responses, for each case of its compliance tests.

The cases are those of ``src/lib/compliance-tests.ts`` of its repository, but for two optional ones,
which ask for tools of the server's own (file search, web search). Each is asked whole and as a
stream; ``create`` and ``streamed`` hold what comes to the schema.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.rest import open_responses
from tests.rest.conftest import Start
from tests.rest.openai_calls import sent
from tests.rest.response_calls import (
    HEART,
    PATH,
    SLOW,
    WEATHER,
    create,
    events_of,
    message,
    replayed,
    streamed,
    text_of,
)
from tests.rest.rest_service import TOKEN, Service, running

FILE = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}
HELLO = message("user", "Say hello.")
CASES: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "basic-response": ([HELLO], {}, ["user"]),
    "streaming-response": ([message("user", "Count from 1 to 5.")], {}, ["user"]),
    "system-prompt": ([message("system", "You are a pirate."), HELLO], {}, ["system", "user"]),
    "tool-calling": (
        [message("user", "weather? [[only_tool_call]]")], {"tools": [WEATHER]}, ["user"],
    ),
    "image-input": (
        [message("user", [{"type": "input_text", "text": "And this?"}, HEART])], {}, ["user"],
    ),
    "file-input": (
        [message("user", [{"type": "input_text", "text": "Its title?"}, FILE])], {}, ["user"],
    ),
    "multi-turn": (
        [message("user", "I am Alice."), message("assistant", "Hello!"), message("user", "Who?")],
        {}, ["user", "assistant", "user"],
    ),
}  # fmt: skip
"""For each case the input, more fields, and the roles that the engine gets."""


async def input_items(service: Service, response: dict[str, Any]) -> list[dict[str, Any]]:
    page = await service.get(f"{PATH}/{response['id']}/input_items?order=asc")
    items: list[dict[str, Any]] = (await page.json())["data"]
    for item in items:
        open_responses.check("item", item)
    return items


def without_place(response: dict[str, Any]) -> dict[str, Any]:
    """The fields that two responses to the same input have in common."""
    own = ("id", "created_at", "completed_at", "conversation", "output", "usage")
    return {name: value for name, value in response.items() if name not in own}


async def test_each_case_is_as_the_schema_has_it_whole_and_in_a_stream(database_url: str) -> None:
    async with running(database_url, switch_dialect="openai") as service:
        for case, (asked, fields, roles) in CASES.items():
            whole = await create(service, asked, **fields)
            kind = "function_call" if case == "tool-calling" else "message"
            assert (whole["status"], [item["type"] for item in whole["output"]]) == (
                "completed", [kind],
            ), case  # fmt: skip
            assert [m["role"] for m in sent(service)["messages"]] == roles, case
            events = await streamed(service, asked, **fields)
            last = events[-1]["response"]
            assert without_place(last) == without_place(whole), case
            assert await replayed(service, last["id"]) == events, case
            for response in (whole, last):
                items = await input_items(service, response)
                assert [item["role"] for item in items] == roles, case
                again = await service.get(f"{PATH}/{response['id']}")
                assert await again.json() == response, case


async def test_function_call_roundtrip_and_previous_response_id(start: Start) -> None:
    service = await start(switch_dialect="openai")
    choice = {"type": "function", "name": WEATHER["name"]}
    ask = {"tools": [WEATHER], "tool_choice": choice}
    first = await create(service, "weather? [[only_tool_call]]", **ask)
    (call,) = first["output"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "64 degrees"}
    for answered in (
        await create(service, [result], previous_response_id=first["id"]),
        (await streamed(service, [result], previous_response_id=first["id"]))[-1]["response"],
    ):
        assert [item["type"] for item in answered["output"]] == ["message"]
        items = await input_items(service, answered)
        assert [item["type"] for item in items] == ["function_call_output"]
    second = await create(service, "Which word?", previous_response_id=answered["id"])
    assert second["previous_response_id"] == answered["id"]
    assert [m["role"] for m in sent(service)["messages"]][-1] == "user"


async def test_a_stream_of_text_has_its_events_in_order(service: Service) -> None:
    events = await streamed(service, [message("user", "Count from 1 to 5.")])
    text = "[stand-in] You said: Count from 1 to 5."
    assert text_of(events) == text
    assert [e["type"] for e in events if "delta" not in e] == [
        "response.created", "response.in_progress", "response.output_item.added",
        "response.content_part.added", "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [e["sequence_number"] for e in events[:4]] == [0, 1, 2, 3]
    assert [e["sequence_number"] - len(text) for e in events[-5:]] == [3, 4, 5, 6, 7]


async def test_a_stream_of_a_call_has_its_events_in_order(start: Start) -> None:
    service = await start(switch_dialect="openai")
    events = await streamed(service, "weather? [[only_tool_call]]", tools=[WEATHER])
    assert [e["type"] for e in events[2:]] == [
        "response.output_item.added", "response.function_call_arguments.delta",
        "response.function_call_arguments.done", "response.output_item.done",
        "response.completed",
    ]  # fmt: skip
    assert [e["sequence_number"] for e in events] == [0, 1, 7, 8, 9, 10, 11]
    both = await streamed(service, "x [[two_tool_calls]]", tools=[WEATHER])
    assert [item["type"] for item in both[-1]["response"]["output"]] == [
        "message", "function_call", "function_call",
    ]  # fmt: skip


BARE = [{"type": "function", "name": "bare"}]
SHAPES: list[dict[str, Any]] = [
    {"tools": BARE, "tool_choice": {"type": "allowed_tools", "tools": BARE}},
    {"tools": BARE, "tool_choice": {"type": "allowed_tools", "mode": "required"}},
    {"tools": BARE, "tool_choice": {"type": "function", "name": "bare"}},
    {"tools": BARE, "tool_choice": "none"},
    {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}}},
    {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": None}}},
    {"text": {"format": {"type": "json_object"}, "verbosity": "low"}},
    {"text": {"format": {"name": None}, "verbosity": None}},
    {"reasoning": {"effort": "low"}},
    {"reasoning": {"summary": "auto"}},
    {"temperature": 1, "top_p": 0, "max_output_tokens": 16, "max_tool_calls": 1},
    {"truncation": "auto", "service_tier": "flex", "safety_identifier": "s", "metadata": {}},
    {"parallel_tool_calls": None, "metadata": None, "top_logprobs": None, "store": False},
]
"""Fields that a caller may leave half empty, and a response has whole."""


async def test_fields_that_were_asked_with_are_told_whole(start: Start) -> None:
    service = await start(switch_dialect="openai")
    for fields in SHAPES:
        await create(service, "hello", **fields)
        await streamed(service, "hello", **fields)


async def test_errors_have_the_form_of_the_schema_in_answers_and_in_streams(
    service: Service,
) -> None:
    bad: tuple[tuple[str, str, Any], ...] = (
        ("POST", PATH, {"input": 5}), ("POST", PATH, {"input": "x", "model": "no"}),
        ("POST", PATH, {"input": "x [[500]]"}), ("GET", f"{PATH}/resp_9", None),
        ("GET", f"{PATH}/resp_9?stream=maybe", None), ("DELETE", PATH, None),
    )  # fmt: skip
    for method, path, body in bad:
        answer = await service.call(method, path, json=body)
        assert answer.status >= 400
        open_responses.check("error", (await answer.json())["error"])
    begun = await create(service, SLOW, background=True)
    url, headers = f"{service.url}{PATH}/{begun['id']}?stream=true", {"X-VX11-Token": TOKEN}
    async with service.session.get(url, headers=headers) as stream:
        await stream.content.readuntil(b"response.in_progress")
        session_id = begun["conversation"]["id"].removeprefix("conv_")
        await service.call("DELETE", f"/operator/session/{session_id}")
        rest = (await stream.text()).partition("\n\n")[2]
    assert events_of(rest)[-1]["type"] == "error"


SPOILED: list[Callable[[dict[str, Any]], object]] = [
    lambda r: r.pop("usage"),
    lambda r: r.update(created_at=1.5),
    lambda r: r.update(tool_choice={"type": "allowed_tools"}),
    lambda r: r["text"].update(format={"type": "json_schema", "name": "n"}),
    lambda r: r["output"][0].pop("id"),
    lambda r: r["output"][0].update(type="reasoning"),
    lambda r: r["output"][0]["content"][0].pop("annotations"),
    lambda r: r["usage"].pop("input_tokens_details"),
]
"""Changes after which a response is not as the schema has it."""


async def test_the_schema_finds_what_is_missing_or_wrong(service: Service) -> None:
    response = await create(service)
    for number, spoil in enumerate(SPOILED):
        wrong = copy.deepcopy(response)
        spoil(wrong)
        event = {"type": "response.completed", "sequence_number": 1, "response": wrong}
        assert open_responses.faults("response", wrong), number
        assert open_responses.faults("event", event), number
