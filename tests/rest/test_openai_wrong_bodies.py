"""Wrong bodies under ``/v1`` are told by the field that is wrong, and ask nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rest import open_responses
from tests.rest.conftest import Start
from tests.rest.openai_calls import HELLO, PICTURE, says
from tests.rest.openai_calls import WEATHER as TOOL
from tests.rest.response_calls import HEART, WEATHER, message
from tests.rest.rest_service import Service
from tests.rest.wrong_items import CONVERSATIONS, METADATA, Wrong


def tells(role: str, **fields: Any) -> list[dict[str, Any]]:
    """Messages whose first one is of ``role``."""
    return [{"role": role, **fields}, *HELLO]


def has(*parts: Any) -> list[dict[str, Any]]:
    """A message of the user with parts."""
    return [{"role": "user", "content": list(parts)}]


CALLS = {
    "role": "assistant",
    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
COMPLETIONS: Wrong = [
    ({"messages": None}, "messages", None),
    ({"messages": []}, "messages", "validation_error"),
    ({"messages": "hi"}, "messages", "validation_error"),
    ({"messages": {}}, "messages", None),
    ({"messages": ["hi"]}, "messages[0]", None),
    ({"messages": HELLO * 1001}, "messages", None),
    ({"messages": [{"content": "x"}]}, "messages[0].role", None),
    ({"messages": [{"role": "assistant", "content": "x"}]}, "messages", None),
    ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role", None),
    ({"messages": [{"role": "user"}]}, "messages[0].content", None),
    ({"messages": says("")}, "messages[0].content", None),
    ({"messages": says("x" * 32_001)}, "messages[0].content", None),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", None),
    ({"messages": says("\0")}, "messages[0].content", None),
    ({"messages": has()}, "messages[0].content", None),
    ({"messages": has("x")}, "messages[0].content[0]", None),
    ({"messages": has({"text": "x"})}, "messages[0].content[0].type", None),
    ({"messages": has({"type": "text"})}, "messages[0].content[0].text", None),
    ({"messages": has({"type": "text", "text": 5})}, "messages[0].content[0].text", None),
    ({"messages": has({"type": "image_url"})}, "messages[0].content[0].image_url", None),
    ({"messages": has({"type": "image_url", "image_url": "x"})},
     "messages[0].content[0].image_url", None),
    ({"messages": has({"type": "image_url", "image_url": {}})},
     "messages[0].content[0].image_url.url", None),
    ({"messages": has({"type": "file"})}, "messages[0].content[0].file", None),
    ({"messages": tells("tool", content="x")}, "messages[0].tool_call_id", None),
    ({"messages": tells("tool", content="x", tool_call_id="c")}, "messages[0].tool_call_id", None),
    ({"messages": [*HELLO, {"role": "tool", "content": "x", "tool_call_id": "c"}]},
     "messages[1].tool_call_id", None),
    ({"messages": [*HELLO, CALLS, {"role": "tool", "content": "x", "tool_call_id": "d"}]},
     "messages[2].tool_call_id", None),
    ({"messages": [*HELLO, CALLS, *HELLO]}, "messages[1].tool_calls", None),
    ({"messages": [*HELLO, CALLS]}, "messages[1].tool_calls", None),
    ({"messages": tells("assistant")}, "messages[0].content", None),
    ({"messages": tells("assistant", tool_calls={})}, "messages[0].tool_calls", None),
    ({"messages": tells("assistant", tool_calls=[{"type": "function"}])},
     "messages[0].tool_calls[0].id", None),
    ({"messages": tells("assistant", tool_calls=[{"id": "c"}])},
     "messages[0].tool_calls[0].function", None),
    ({"messages": tells("assistant", tool_calls=[{"id": "c", "function": {"name": "f"}}])},
     "messages[0].tool_calls[0].function.arguments", None),
    ({"n": 2}, "n", None),
    ({"n": "1"}, "n", None),
    ({"model": "gpt-nope"}, "model", "model_not_found"),
    ({"model": 7}, "model", None),
    ({"stream": "yes"}, "stream", None),
    ({"stream_options": 1}, "stream_options", None),
    ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", None),
    ({"store": "no"}, "store", None),
    ({"tools": {}}, "tools", None),
    ({"tools": [{}]}, "tools[0].type", None),
    ({"tools": [{"type": "function"}]}, "tools[0].function", None),
    ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type", None),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", None),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
     "tools[0].function.parameters", None),
    ({"tool_choice": "maybe"}, "tool_choice", None),
    ({"tool_choice": {"type": "function"}}, "tool_choice.function", None),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {}}},
     "tool_choice.function.name", None),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "nothing"}}},
     "tool_choice.function.name", None),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}},
     "tool_choice.allowed_tools.mode", None),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {
        "mode": "auto", "tools": [{"type": "function", "function": {"name": "nothing"}}]}}},
     "tool_choice.allowed_tools.tools[0].function.name", None),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls", None),
    ({"response_format": "json"}, "response_format", None),
    ({"response_format": {}}, "response_format.type", None),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", None),
    ({"response_format": {"type": "json_schema", "json_schema": {}}},
     "response_format.json_schema.name", None),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": "x"}}},
     "response_format.json_schema.schema", None),
    ({"temperature": "hot"}, "temperature", None),
    ({"top_p": 1.5}, "top_p", None),
    ({"max_tokens": 0}, "max_tokens", None),
    ({"max_tokens": 2**31}, "max_tokens", None),
    ({"max_tokens": True}, "max_tokens", None),
    ({"max_completion_tokens": -1}, "max_completion_tokens", None),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", None),
    ({"temperature": 2.01}, "temperature", None),
    ({"temperature": -0.01}, "temperature", None),
    ({"top_p": -0.1}, "top_p", None),
    ({"presence_penalty": -2.1}, "presence_penalty", None),
    ({"frequency_penalty": 2.1}, "frequency_penalty", None),
    ({"n": -1}, "n", None),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", None),
    ({"seed": 2**63}, "seed", None),
    ({"seed": 0.5}, "seed", None),
    ({"top_logprobs": -1, "logprobs": True}, "top_logprobs", None),
    ({"top_logprobs": 3}, "top_logprobs", None),
    ({"logit_bias": {"50256": 101}}, "logit_bias.50256", None),
    ({"logit_bias": {"50256": -101}}, "logit_bias.50256", None),
    ({"tools": [TOOL] * 129}, "tools", None),
    ({"tool_choice": "required"}, "tool_choice", None),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice", None),
    ({"stream_options": {"include_usage": True}}, "stream_options", None),
    ({"max_tokens": 1.5}, "max_tokens", None),
    ({"max_completion_tokens": "many"}, "max_completion_tokens", None),
    ({"stop": 5}, "stop", None),
    ({"stop": ["a", 5]}, "stop[1]", None),
    ({"seed": "x"}, "seed", None),
    ({"logprobs": 3}, "logprobs", None),
    ({"top_logprobs": 21}, "top_logprobs", None),
    ({"logit_bias": {"50256": "much"}}, "logit_bias.50256", None),
    ({"reasoning_effort": 3}, "reasoning_effort", None),
    ({"user": 5}, "user", None),
    ({"metadata": "x"}, "metadata", None),
    ({"metadata": {"session_id": "a b"}}, "metadata.session_id", None),
    ({"metadata": {"session_id": 5}}, "metadata.session_id", None),
    ({"metadata": {"x": "y" * 65_536}}, "metadata", None),
    ({"metadata": {"openai": {"parameters": {"model": "m"}}}}, "metadata.openai", None),
]  # fmt: skip
"""Bodies (those without messages say "hello"), the field that is wrong, and a code of its own."""
RESPONSES: Wrong = [
    ({}, "input", None),
    ({"input": None}, "input", None),
    ({"input": ""}, "input", None),
    ({"input": []}, "input", None),
    ({"input": "x" * 32_001}, "input", None),
    ({"input": [{"role": "boss", "content": "x"}]}, "input[0].role", None),
    ({"input": [{"content": "x"}]}, "input[0].role", None),
    ({"input": [{"role": "user"}]}, "input[0].content", None),
    ({"input": [message("user", [{"type": "x"}])]}, "input[0].content[0].type", None),
    ({"input": [message("user", [{"type": "input_image"}])]},
     "input[0].content[0].image_url", None),
    ({"input": [message("user", [{"type": "input_text"}])]}, "input[0].content[0].text", None),
    ({"input": [message("user", [{"type": "input_file"}])]},
     "input[0].content[0].file_data", None),
    ({"input": [message("assistant", [{"type": "refusal", "text": "x"}])]},
     "input[0].content[0].refusal", None),
    ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "nothing"}},
     "tool_choice.name", None),
    ({"input": [message("assistant", "x")]}, "input", None),
    ({"input": [message("user", "")]}, "input[0].content", None),
    ({"input": [message("user", [])]}, "input[0].content", None),
    ({"input": [message("user", "a"), message("user", "x" * 32_001)]}, "input[1].content", None),
    ({"input": [message("user", "a"), CALL]}, "input", None),
    ({"input": [message("user", "a"), CALL, message("user", "b")]}, "input", None),
    ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": [
        {"type": "function", "name": "nothing"}]}}, "tool_choice.tools[0].name", None),
    ({"input": [{"type": "computer_call"}]}, "input[0].type", None),
    ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name", None),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id", None),
    ({"model": 7}, "model", None),
    ({"model": "gpt-nope"}, "model", "model_not_found"),
    ({"instructions": 5}, "instructions", None),
    ({"max_output_tokens": 0}, "max_output_tokens", None),
    ({"max_output_tokens": 2**31}, "max_output_tokens", None),
    ({"temperature": 2.01}, "temperature", None),
    ({"temperature": -0.01}, "temperature", None),
    ({"top_p": 1.01}, "top_p", None),
    ({"presence_penalty": 2.1}, "presence_penalty", None),
    ({"frequency_penalty": -2.1}, "frequency_penalty", None),
    ({"top_logprobs": 21}, "top_logprobs", None),
    ({"top_logprobs": -1}, "top_logprobs", None),
    ({"tools": [WEATHER] * 129}, "tools", None),
    ({"tool_choice": "required"}, "tool_choice", None),
    ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice", None),
    ({"stream": "yes"}, "stream", None),
    ({"background": 1}, "background", None),
    ({"background": True, "store": False}, "store", None),
    ({"metadata": {"a": 1}}, "metadata.a", None),
    ({"metadata": {"a": "x" * 513}}, "metadata.a", None),
    ({"metadata": {"openai": "x"}}, "metadata.openai", None),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata", None),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", None),
    ({"tools": [{"type": "function"}]}, "tools[0].name", None),
    ({"tool_choice": "maybe"}, "tool_choice", None),
    ({"text": {"format": {"type": "yaml"}}}, "text.format.type", None),
    ({"reasoning": {"effort": 3}}, "reasoning.effort", None),
    ({"truncation": "some"}, "truncation", None),
    ({"previous_response_id": 5}, "previous_response_id", None),
    ({"previous_response_id": "x"}, "previous_response_id", "previous_response_not_found"),
    ({"previous_response_id": "resp_9"}, "previous_response_id",
     "previous_response_not_found"),
    ({"conversation": {"name": "x"}}, "conversation.id", None),
    ({"conversation": "conv_none"}, "conversation", "session_not_found"),
    ({"conversation": "conv_a", "previous_response_id": "resp_9"}, "conversation", None),
    ({"tools": "all"}, "tools", None),
    ({"tool_choice": {"type": "function"}}, "tool_choice.name", None),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", None),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema", None),
    ({"include": "all"}, "include", None),
    ({"max_tool_calls": 0}, "max_tool_calls", None),
    ({"conversation": 5}, "conversation", None),
]  # fmt: skip
"""The same; those without an input ask "hello"."""
NOT_FOUND = ("session_not_found", "model_not_found")
TABLES: dict[str, tuple[dict[str, Any], Wrong]] = {
    "/v1/chat/completions": ({"messages": HELLO}, COMPLETIONS),
    "/v1/responses": ({"input": "hello"}, RESPONSES),
    "/v1/conversations": ({}, [*CONVERSATIONS, *METADATA]),
    "/v1/conversations/conv_s": ({}, [({}, "metadata", None), *METADATA]),
    "/v1/conversations/conv_s/items": ({}, [({}, "items", None), *CONVERSATIONS]),
}
"""Tables by path, each with the fields that its bodies have besides."""


async def told(service: Service, path: str, body: dict[str, Any]) -> tuple[int, str, str, str]:
    """Status, param, type and code of the answer to a body."""
    answer = await service.post(path, body)
    said = await answer.json()
    assert answer.status >= 400, (body, said)
    assert answer.headers["X-Request-ID"]
    error = said["error"]
    open_responses.check("error", error)
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return answer.status, error["param"], error["type"], error["code"]


@pytest.mark.parametrize("dialect", ["vx11", "openai"])
async def test_a_wrong_body_is_told_by_its_param(start: Start, dialect: str) -> None:
    service = await start(switch_dialect=dialect)
    await service.chat("hello", session_id="s")
    asked = service.switch.total.calls
    tried = set()
    for path, (fields, table) in TABLES.items():
        for body, param, code in table:
            whole = body if body == {} else {**fields, **body}
            tried.add(f"{path} {json.dumps(whole)}")
            status, *rest = await told(service, path, whole)
            expected = (404 if code in NOT_FOUND else 400, param, "invalid_request_error")
            assert (status, *rest[:2]) == expected, (path, body)
            assert code in (None, rest[2]), (path, body)
    assert service.switch.total.calls == asked
    assert len(tried) >= 60


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": HELLO, "tools": [TOOL]}, "tools"),
        ("/v1/chat/completions", {"messages": HELLO, "functions": [TOOL["function"]]}, "functions"),
        ("/v1/chat/completions", {"messages": PICTURE}, "messages[0].content"),
        ("/v1/responses", {"input": "x", "tools": [WEATHER]}, "tools"),
        ("/v1/responses", {"input": [message("user", [HEART])]}, "input"),
    ],
)
async def test_an_upstream_of_text_takes_no_tools_and_no_pictures(
    service: Service, path: str, body: dict[str, Any], param: str
) -> None:
    assert (await told(service, path, body))[:2] == (400, param)


@pytest.mark.parametrize(
    "header", ["X-Operator-Background", "X-Operator-Session", "X-Operator-User", "Idempotency-Key"]
)
async def test_a_wrong_header_is_told_by_its_name(service: Service, header: str) -> None:
    body = {"messages": HELLO}
    answer = await service.post("/v1/chat/completions", body, headers={header: "ñ" * 300})
    assert (answer.status, (await answer.json())["error"]["param"]) == (400, header)


async def test_what_is_no_object_of_json_is_400(service: Service) -> None:
    headers = {"Content-Type": "application/json"}
    for path in TABLES:
        for body in (b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 200, b"null"):
            answer = await service.call("POST", path, data=body, headers=headers)
            error = (await answer.json())["error"]
            assert (answer.status, error["type"]) == (400, "invalid_request_error"), (path, body)
