"""The faults of a body for a completion that its types alone do not tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from operator_svc.protocol.completion_body import (
    ChatCompletionBody,
    ChosenTool,
    CompletionTool,
    MessageParam,
)
from operator_svc.protocol.faults import Fault

PARTS = frozenset({"text", "refusal", "image_url", "input_audio", "file"})
"""Types of parts that must have a field of the same name."""
MISSING = "it is missing"
NOT_A_TOOL = "no function of tools has this name"


def faults_of(body: ChatCompletionBody) -> Iterator[Fault]:
    """The fields that are wrong by what others say."""
    for index, message in enumerate(body.messages):
        if type(message.content) is not str or message.tool_calls or message.role == "tool":
            yield from _message_faults(message, f"messages[{index}]")
    yield from _pair_faults(body.messages)
    for index, tool in enumerate(body.tools or ()):
        if tool.type == "function" and tool.function is None:
            yield f"tools[{index}].function", MISSING
        if tool.type == "custom":  # its calls are no functions, and would fail the reply
            yield f"tools[{index}].type", "calls of custom tools cannot be returned"
    if isinstance(body.tool_choice, ChosenTool):
        yield from _choice_faults(body.tool_choice, body.tools or ())
    form = body.response_format
    if form is not None and form.type == "json_schema" and form.json_schema is None:
        yield "response_format.json_schema", MISSING
    yield from _parameter_faults(body)


def _choice_faults(choice: ChosenTool, tools: Iterable[CompletionTool]) -> Iterator[Fault]:
    if choice.type == "function" and choice.function is None:
        yield "tool_choice.function", MISSING
    if choice.type == "allowed_tools" and choice.allowed_tools is None:
        yield "tool_choice.allowed_tools", MISSING
    known = {tool.function.name for tool in tools if tool.function is not None}
    if choice.function is not None and known and choice.function.name not in known:
        yield "tool_choice.function.name", NOT_A_TOOL
    for index, tool in enumerate(choice.allowed_tools.tools if choice.allowed_tools else ()):
        function = tool.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if name is not None and known and name not in known:
            yield f"tool_choice.allowed_tools.tools[{index}].function.name", NOT_A_TOOL


def _pair_faults(messages: Iterable[MessageParam]) -> Iterator[Fault]:
    """Calls of functions without a result behind them, and results without a call before them."""
    waiting: set[str] = set()
    called = 0
    for index, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id is not None and message.tool_call_id not in waiting:
                yield f"messages[{index}].tool_call_id", "no call before it waits for this result"
            waiting.discard(message.tool_call_id or "")
            continue
        if waiting:
            yield f"messages[{called}].tool_calls", f"{min(waiting)} has no result behind it"
        called, waiting = index, {call.id for call in message.tool_calls or ()}
    if waiting:
        yield f"messages[{called}].tool_calls", f"{min(waiting)} has no result behind it"


def _parameter_faults(body: ChatCompletionBody) -> Iterator[Fault]:
    if body.n not in (None, 1):
        yield "n", "there is one choice only"
    if body.seed is not None and not -(2**63) <= body.seed < 2**63:
        yield "seed", "it must have at most 64 bits"
    if body.top_logprobs and not body.logprobs:
        yield "top_logprobs", "it needs logprobs to be true"
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        yield "max_tokens", "max_completion_tokens says the same"
    if not body.tools and body.tool_choice not in (None, "none", "auto"):
        yield "tool_choice", "it needs tools"
    if body.stream_options is not None and not body.stream:
        yield "stream_options", "they need stream to be true"


def _message_faults(message: MessageParam, field: str) -> Iterator[Fault]:
    if message.role == "tool" and message.tool_call_id is None:
        yield f"{field}.tool_call_id", MISSING
    instead: tuple[object, ...] = ()
    if message.role == "assistant":
        instead = (message.tool_calls, message.refusal, message.function_call, message.audio)
    if message.content is None and not any(instead):
        yield f"{field}.content", MISSING
    for index, part in enumerate(message.content if isinstance(message.content, list) else ()):
        if part.type in PARTS and getattr(part, part.type) is None:
            yield f"{field}.content[{index}].{part.type}", MISSING
    for index, call in enumerate(message.tool_calls or ()):
        if call.type == "function" and call.function is None:
            yield f"{field}.tool_calls[{index}].function", MISSING
