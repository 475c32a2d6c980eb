"""Messages and fields that the engine gets: in the first call, in later turns, when repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.rest.openai_calls import REPEATED, TALK, completion, says, sent, stored
from tests.rest.openai_calls import WEATHER as TOOL
from tests.rest.response_calls import HEART, WEATHER, create, message
from tests.rest.rest_service import Service, running

NAMED = {"X-Operator-Session": "s"}
TEXT: dict[str, Any] = {"type": "text", "text": "what is this?"}
LARGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 70_000}}
PICTURE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
FILM = {"type": "video_url", "video_url": {"url": "https://films.example/1"}, "fps": 2}


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Service]:
    """A service in front of an upstream that takes OpenAI's fields, once on each engine."""
    async with running(database_url, switch_dialect="openai") as service:
        yield service


def messages(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(service)["messages"]
    return found


def told(service: Service) -> list[tuple[str, Any]]:
    """The roles and contents that the engine was sent."""
    return [(said["role"], said.get("content")) for said in messages(service)]


async def ask(service: Service, content: Any, **fields: Any) -> None:
    body = {"messages": [{"role": "user", "content": content}], **fields}
    response = await completion(service, body, headers=NAMED)
    assert response.status == 200, await response.text()


async def regenerate(service: Service, place: int) -> dict[str, Any]:
    """Ask for one more reply to a message of the user; the body that the engine was sent."""
    asked = [said for said in await stored(service, "s") if said["role"] == "user"]
    await service.chat(session_id="s", metadata={"regenerate": asked[place]["id"]})
    return sent(service)


@pytest.mark.parametrize("parts", [[TEXT, PICTURE], [PICTURE], [TEXT, SOUND], [FILM, TEXT]])
async def test_parts_of_earlier_turns_are_sent_again(engine: Service, parts: list[Any]) -> None:
    await ask(engine, parts)
    assert told(engine) == [("user", parts)]
    answer = (await stored(engine, "s"))[1]["content"]
    await ask(engine, "and now?", temperature=0.5)
    expected = [("user", parts), ("assistant", answer), ("user", "and now?")]
    assert told(engine) == expected
    second = sent(engine)
    assert await regenerate(engine, 1) == second
    await engine.chat("and in Operator's own protocol?", session_id="s")
    assert told(engine)[:2] == expected[:2]
    assert "temperature" not in sent(engine)
    listed = await (await engine.get("/v1/conversations/conv_s/items?order=asc")).json()
    shown = listed["data"][0]["content"]
    assert len(shown) == len(parts)
    for part, item in zip(parts, shown, strict=True):
        if part in (SOUND, FILM):
            assert item == part
        else:
            assert item["type"] == {"text": "input_text", "image_url": "input_image"}[part["type"]]


async def test_parts_of_a_conversation_that_the_client_brings_are_known_later(
    engine: Service,
) -> None:
    brought = [*TALK[:3], {"role": "user", "content": [TEXT, PICTURE]}]
    response = await completion(engine, {"messages": brought, "seed": 3}, headers=NAMED)
    assert response.status == 200
    first = sent(engine)
    assert first["messages"] == brought
    assert await regenerate(engine, 0) == first
    await ask(engine, "and now?")
    assert told(engine)[0] == ("user", [TEXT, PICTURE])


async def test_a_message_whose_picture_was_not_kept_is_not_asked_again_without_it(
    engine: Service,
) -> None:
    await ask(engine, [TEXT, LARGE])
    assert told(engine) == [("user", [TEXT, LARGE])]
    asked = (await stored(engine, "s"))[0]
    assert asked["metadata"]["openai"]["left_out"] == ["content"]
    calls = engine.switch.total.calls
    again = {"session_id": "s", "metadata": {"regenerate": asked["id"]}}
    response = await engine.post("/operator/chat", again)
    problem = await response.json()
    assert (response.status, problem["error"]) == (409, "conflict")
    assert "content" in problem["detail"]
    assert engine.switch.total.calls == calls
    assert len(await stored(engine, "s")) == 2


async def test_a_message_for_the_system_alone_is_sent_again_in_a_regenerate(
    engine: Service,
) -> None:
    body = {"messages": [{"role": "system", "content": "be brief"}, *says("hello")], "top_p": 0.5}
    assert (await completion(engine, body, headers=NAMED)).status == 200
    first = sent(engine)
    assert told(engine) == [("system", "be brief"), ("user", "hello")]
    assert await regenerate(engine, 0) == first


async def test_a_dialect_of_text_gets_the_clients_conversation_in_a_regenerate(
    both: Service,
) -> None:
    assert (await completion(both, {"messages": TALK, "seed": 3}, headers=NAMED)).status == 200
    first = sent(both)
    assert first["metadata"]["history"][-1]["content"] == "one"
    again = await regenerate(both, 0)
    for name in ("history", "openai"):
        assert again["metadata"][name] == first["metadata"][name]
    assert again["messages"] == first["messages"]


async def test_a_call_that_is_repeated_after_a_failure_sends_the_same(engine: Service) -> None:
    engine.switch.set_mode({"chat": {"mode": "500"}, "times": 1})
    body = {"messages": [{"role": "user", "content": [TEXT, PICTURE]}], "tools": [TOOL], "seed": 3}
    assert (await completion(engine, body, headers=NAMED)).status == 502
    first = sent(engine)
    answer = await completion(engine, body, headers={**NAMED, **REPEATED})
    assert answer.status == 200
    assert sent(engine) == first


async def test_calls_of_tools_and_their_results_are_sent_again(engine: Service) -> None:
    first = await create(engine, "the weather [[only_tool_call]]", tools=[WEATHER])
    (call,) = first["output"]
    output = [{"type": "input_text", "text": "see"}, HEART]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": output}
    second = await create(engine, [result], previous_response_id=first["id"], tools=[WEATHER])
    asked, called, answered = messages(engine)
    assert called["tool_calls"][0]["id"] == call["call_id"]
    assert [part["type"] for part in answered["content"]] == ["text", "image_url"]
    text = second["output"][0]["content"][0]["text"]
    await create(engine, "and now?", previous_response_id=second["id"])
    assert messages(engine) == [
        asked, called, answered,
        {"role": "assistant", "content": text}, {"role": "user", "content": "and now?"},
    ]  # fmt: skip
    items = await (await engine.get(f"/v1/responses/{second['id']}/input_items")).json()
    assert [part["type"] for part in items["data"][0]["output"]] == ["input_text", "input_image"]


async def test_results_of_tools_in_a_named_session_are_a_further_reply(engine: Service) -> None:
    for _ in range(2):  # who asks the same again says it again
        said = says("the weather [[tool_call]]")
        body = {"messages": said, "tools": [TOOL]}
        for result in ("look there [[tool_call]]", "rain"):
            answer = await (await completion(engine, body, headers=NAMED)).json()
            called = answer["choices"][0]["message"]
            assert answer["choices"][0]["finish_reason"] == "tool_calls"
            identity = called["tool_calls"][0]["id"]
            said += [called, {"role": "tool", "tool_call_id": identity, "content": result}]
        assert (await completion(engine, body, headers=NAMED)).status == 200
        assert messages(engine) == said
    assert [m["role"] for m in await stored(engine, "s")] == ["user", *["assistant"] * 3] * 2
    await ask(engine, "and now?")
    roles = [role for role, _ in told(engine)]
    exchange = ["user", *["assistant", "tool"] * 2, "assistant"]
    assert roles == [*exchange * 2, "user"]


@pytest.mark.parametrize("change", ["session", "question", "call"])
async def test_results_of_other_calls_are_an_answer_to_a_new_message(
    engine: Service, change: str
) -> None:
    asked = says("the weather [[tool_call]]")
    body = {"messages": asked, "tools": [TOOL]}
    answer = await (await completion(engine, body, headers=NAMED)).json()
    called = answer["choices"][0]["message"]
    if change == "question":
        asked[0]["content"] += "!"
    if change == "call":
        called["tool_calls"][0]["id"] = "call_99999"
    result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "rain"}
    headers = {"X-Operator-Session": "other"} if change == "session" else NAMED
    again = await completion(
        engine, {**body, "messages": [*asked, called, result]}, headers=headers
    )
    assert again.status == 200
    found = await stored(engine, "other" if change == "session" else "s")
    assert [m["role"] for m in found][-2:] == ["user", "assistant"]


async def test_messages_of_an_earlier_input_are_sent_again(engine: Service) -> None:
    first = await create(engine, [message("developer", "in prose"), message("user", [HEART])])
    sent_first = messages(engine)
    await create(engine, "and now?", previous_response_id=first["id"])
    assert messages(engine)[:2] == sent_first
    number = int(first["id"].removeprefix("resp_")) - 1
    named = {"type": "item_reference", "id": f"msg_{number}"}
    said = message("assistant", "a heart")
    await create(engine, [named, said, message("user", "once more")])
    assert messages(engine)[0] == sent_first[1]


async def test_files_of_the_ai_sdk_are_sent_and_shown_again(engine: Service) -> None:
    picture = {"type": "file", "mediaType": "image/png", "url": PICTURE["image_url"]["url"]}
    paper: dict[str, Any] = {
        "type": "file", "mediaType": "application/pdf", "url": "data:application/pdf;base64,AAAA",
        "filename": "paper.pdf",
    }  # fmt: skip
    data = {"type": "data-mood", "data": {"mood": "curious"}}
    for number, parts in enumerate(([TEXT, data, picture], [paper])):
        asked = {"role": "user", "id": f"m-{number}", "parts": parts}
        answer = await engine.post("/ai/chat", {"id": "s", "messages": [asked]})
        assert answer.status == 200, await answer.text()
    file = {"type": "file", "file": {"file_data": paper["url"], "filename": "paper.pdf"}}
    first, _, second = told(engine)
    assert (first, second) == (("user", [TEXT, PICTURE]), ("user", [file]))
    whole = sent(engine)
    assert (
        await engine.post("/ai/chat", {"id": "s", "trigger": "regenerate-message"})
    ).status == 200
    assert sent(engine) == whole
    shown = await (await engine.get("/ai/chat/s/messages")).json()
    assert shown[0]["parts"] == [{**TEXT, "state": "done"}, picture]
    assert shown[2]["parts"] == [paper]


@pytest.mark.parametrize("tools", [{}, {"tools": None}, {"tools": []}])
@pytest.mark.parametrize("choice", ["auto", "none", None])
async def test_fields_of_tools_stay_out_of_a_response_without_tools(
    engine: Service, tools: dict[str, Any], choice: str | None
) -> None:
    fields = {"tool_choice": choice, "parallel_tool_calls": True, "temperature": 0.5, **tools}
    response = await create(engine, "hello", **fields)
    # Servers of chat completions refuse them where there are none.
    assert sent(engine).keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls"})
    assert sent(engine)["temperature"] == 0.5
    assert response["tool_choice"] == (choice or "auto")
    assert response["parallel_tool_calls"] is True
