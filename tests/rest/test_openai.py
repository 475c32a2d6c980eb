"""OpenAI's chat completions in front: with its own SDK, and byte by byte."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from operator_svc.devpeers.dialects import OpenAi
from operator_svc.peers.usage import token_counts, total_of
from tests.fakes.raw import dead_address
from tests.rest.conftest import Start
from tests.rest.openai_calls import (
    HELLO,
    PATH,
    TALK,
    WEATHER,
    chunks,
    completion,
    says,
    sdk,
    sent,
    stored,
)
from tests.rest.rest_service import TOKEN, Service


async def test_the_sdk_lists_models_and_chats_whole_and_streamed(both: Service) -> None:
    async with sdk(both) as client:
        models = [model.id for model in (await client.models.list()).data]
        assert models[0] == "operator"
        assert "standin-small" in models
        assert (await client.models.retrieve("standin-small")).id == "standin-small"
        whole = await client.chat.completions.create(model="operator", messages=HELLO)
        text = whole.choices[0].message.content
        assert text == "[stand-in] You said: hello"
        assert whole.choices[0].finish_reason == "stop"
        stream = await client.chat.completions.create(
            model="standin-small",
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
        )
        seen = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in seen if c.choices) == text
    assert {chunk.id for chunk in seen} == {seen[0].id}
    assert seen[-1].usage.completion_tokens > 0
    assert seen[-2].choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("token", "path", "status", "kind"),
    [
        (None, PATH, 401, "authentication_error"),
        ("wrong", PATH, 401, "authentication_error"),
        (TOKEN, "/v1", 404, "invalid_request_error"),
        (TOKEN, "/v1/nothing", 404, "invalid_request_error"),
        (TOKEN, "/v1/models/nothing", 404, "invalid_request_error"),
    ],
)
async def test_failures_under_v1_have_openais_form(
    service: Service, token: str | None, path: str, status: int, kind: str
) -> None:
    response = await service.get(path, token=token)
    if response.status == 405:
        response = await service.post(path, {"messages": HELLO}, token=token)
    error = (await response.json())["error"]
    assert (response.status, error["type"]) == (status, kind)
    assert status != 401 or error["code"] == "invalid_api_key"


async def test_the_name_of_a_model_may_have_slashes(service: Service) -> None:
    response = await service.get("/v1/models/meta-llama/none")
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "'meta-llama/none'" in error["message"]


async def test_a_named_session_keeps_the_last_message_alone(start: Start) -> None:
    service = await start(switch_dialect="openai")
    named = {"X-Operator-Session": "of-sdk"}
    assert (await completion(service, {"messages": TALK}, headers=named)).status == 200
    assert (await stored(service, "of-sdk"))[0]["content"] == "second"
    assert sent(service)["messages"] == TALK
    one = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "third"}]
    response = await completion(service, {"messages": one, "metadata": {"session_id": "of-sdk"}})
    assert response.status == 200
    assert [m["role"] for m in sent(service)["messages"]] == [
        "system", "user", "assistant", "user",
    ]  # fmt: skip
    webui = {"X-OpenWebUI-Chat-Id": "of-webui", "X-OpenWebUI-User-Id": "ana"}
    assert (await completion(service, {}, headers=webui)).status == 200
    session = await (await service.get("/operator/session/of-webui")).json()
    assert (session["user_id"], session["source"]) == ("ana", "openai")


async def test_engine_fields_reach_the_upstream_and_a_regenerate_sends_them_again(
    start: Start,
) -> None:
    service = await start(switch_dialect="openai")
    fields = {"temperature": 0.3, "seed": 7, "top_k": 5, "stop": ["x"], "tools": [WEATHER]}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content = [{"type": "text", "text": "what is this?"}, picture]
    body = {"messages": [{"role": "user", "content": content}], **fields}
    named = {"X-Operator-Session": "s-fields"}
    assert (await completion(service, body, headers=named)).status == 200
    first = sent(service)
    assert {name: first[name] for name in fields} == fields
    assert first["messages"][-1]["content"] == content
    message = (await stored(service, "s-fields"))[0]
    await service.chat(session_id="s-fields", metadata={"regenerate": message["id"]})
    assert sent(service) == first


async def test_the_other_dialect_gets_sampling_parameters_in_its_metadata(
    service: Service,
) -> None:
    assert (await completion(service, {"temperature": 0.3})).status == 200
    assert sent(service)["metadata"]["openai"] == {"temperature": 0.3}


async def test_tool_calls_come_whole_streamed_and_are_answered(start: Start) -> None:
    service = await start(switch_dialect="openai")
    ask = says("weather? [[only_tool_call]]")
    async with sdk(service) as client:
        whole = await client.chat.completions.create(
            model="operator", messages=ask, tools=[WEATHER]
        )
    choice = whole.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    call = choice.message.tool_calls[0]
    assert call.function.name == "standin_tool"
    json.loads(call.function.arguments)
    streamed = await chunks(service, messages=ask, tools=[WEATHER])
    assert streamed[-3]["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert streamed[-2]["choices"][0]["finish_reason"] == "tool_calls"
    result = [
        *ask,
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    assert (await completion(service, {"messages": result, "tools": [WEATHER]})).status == 200
    assert sent(service)["messages"] == result


async def test_a_stream_ends_with_done_or_with_an_error(service: Service) -> None:
    good = await chunks(service)
    assert good[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert good[-1] == "[DONE]"
    broken = await chunks(service, messages=says("x [[cut]] [[after=2]] [[rate=50]]"))
    assert broken[-1]["error"]["code"] == "switch_error"
    before = await completion(service, {"stream": True, "messages": says("x [[500]]")})
    assert before.status == 502
    assert before.headers["x-should-retry"] == "false"


async def test_an_upstream_that_is_away_is_told_and_its_models_stay(start: Start) -> None:
    service = await start(switch_url=dead_address())
    response = await completion(service, {})
    assert (response.status, (await response.json())["error"]["type"]) == (503, "server_error")
    assert response.headers["x-should-retry"] == "false"
    listed = await (await service.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["operator"]


async def test_an_sdk_with_a_wrong_key_raises_its_own_error(service: Service) -> None:
    async with sdk(service, api_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


async def test_details_of_usage_are_told_as_the_upstream_counts_them(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(dialect: OpenAi, tokens: int, finish_reason: str | None) -> bytes:
        return plain(dialect, tokens, finish_reason).replace(
            b'"prompt_tokens":1,',
            b'"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":8},'
            b'"completion_tokens_details":{"reasoning_tokens":1},',
        )

    plain = OpenAi.end
    service = await start(switch_dialect="openai")
    async with sdk(service) as client:
        create = client.chat.completions.create
        silent = await create(model="operator", messages=HELLO)
        assert silent.usage.prompt_tokens_details is None
        monkeypatch.setattr(OpenAi, "end", end)
        whole = await create(model="operator", messages=HELLO)
        options = {"include_usage": True}
        stream = await create(model="operator", messages=HELLO, stream=True, stream_options=options)
        *_, last = [chunk async for chunk in stream]
        for usage in (whole.usage, last.usage):
            assert usage.prompt_tokens_details.cached_tokens == 8
            assert usage.completion_tokens_details.reasoning_tokens == 1
        response = await client.responses.create(model="operator", input="hello")
        for shown in (response, await client.responses.retrieve(response.id)):
            assert shown.usage.input_tokens_details.cached_tokens == 8
            assert shown.usage.output_tokens_details.reasoning_tokens == 1


@pytest.mark.parametrize(
    "counted",
    [
        {"prompt_tokens": 5, "completion_tokens": 3,
         "prompt_tokens_details": {"cached_tokens": 2},
         "completion_tokens_details": {"reasoning_tokens": 1}},
        {"input_tokens": 5, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2},
         "output_tokens_details": {"reasoning_tokens": 1}},
        {"prompt_tokens": 5, "completion_tokens": 3, "prompt_cache_hit_tokens": 2,
         "reasoning_tokens": 1, "prompt_tokens_details": None},
    ],
)  # fmt: skip
def test_counts_are_known_by_the_names_of_several_upstreams(counted: dict[str, Any]) -> None:
    counts = token_counts(counted)
    assert counts == {
        "prompt_tokens": 5, "completion_tokens": 3, "cached_tokens": 2, "reasoning_tokens": 1,
    }  # fmt: skip
    assert total_of(counts) == 8, "details are parts of the others"
    assert token_counts({"prompt_tokens_details": {"cached_tokens": "2"}}) == {}
    assert total_of({"cached_tokens": 2}) is None
