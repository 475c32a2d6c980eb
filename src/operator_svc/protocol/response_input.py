"""The part of a call for a response that travels to an engine.

Engines speak chat completions, so items become messages, and parameters take their names there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from operator_svc.errors import OperatorError
from operator_svc.models import MAX_MESSAGE_CHARS, Json
from operator_svc.protocol import decoding
from operator_svc.protocol.chat import Chat, checked_metadata
from operator_svc.protocol.completion_faults import NOT_A_TOOL
from operator_svc.protocol.engine_fields import EngineFields
from operator_svc.protocol.faults import Fault
from operator_svc.protocol.openai import ANY_MODEL, text_of
from operator_svc.protocol.response_body import InputItem, InputPart, ResponseBody, ToolChoice

SAME_NAME = frozenset(
    {
        "temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs",
        "parallel_tool_calls", "service_tier", "user", "safety_identifier", "prompt_cache_key",
    }
)  # fmt: skip
"""Parameters that chat completions have too."""
NOT_ECHOED = frozenset(
    {
        "input", "instructions", "metadata", "conversation", "stream", "stream_options",
        "include",
    }
)  # fmt: skip
"""Fields that are kept elsewhere, or not at all."""
CONTENT_OF_PART = {
    "input_text": ("text",), "output_text": ("text",), "text": ("text",), "refusal": ("refusal",),
    "input_image": ("image_url",), "input_file": ("file_data", "file_id", "file_url"),
}  # fmt: skip
"""Fields of parts by their types: each part has one of them."""
OF_TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
"""Fields that chat completions take only together with tools, and responses without any too."""
TRANSLATED = frozenset(ResponseBody.__struct_fields__) - SAME_NAME


# From a body to a chat.


class Answered(NamedTuple):
    """The response whose tool calls the input has the results of: the user's message that it
    replied to, and the messages from that one on, the calls last."""

    message_id: int
    before: list[dict[str, Json]]


def chat_of(
    body: ResponseBody,
    plain: dict[str, Json],
    messages: list[dict[str, Json]],
    session_id: str | None,
    *,
    answered: Answered | None = None,
    sends_fields: bool,
) -> Chat:
    """The chat of a response, whose input are ``messages``. ``plain`` is the body as it came;
    ``sends_fields`` is True where the upstream takes OpenAI's fields.

    Results of tool calls alone are one more reply to the message that led to the calls.
    Raises OperatorError(validation_error), which names the field.
    """
    if body.background and body.store is False:
        raise OperatorError.invalid("store", "a background response is stored")
    decoding.check(_faults(body))
    if unanswered := _unanswered(messages):
        raise OperatorError.invalid("input", f"it has no output of the call {unanswered[0]}")
    if not sends_fields:
        _check_plain(body, messages)
    last = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=None)
    question, parts = "", None
    if last is not None:
        question, parts = _question(messages[last]["content"], _place(body.input))
    elif answered is None:
        raise OperatorError.invalid("input", "no item of it is a message of the user")
    alone = len(messages) == 1 and messages[0]["role"] == "user"
    fields = {name: value for name, value in plain.items() if name not in NOT_ECHOED}
    return Chat(
        message=question,
        session_id=session_id,
        metadata=checked_metadata(body.metadata),
        provider_hint=body.model if body.model != ANY_MODEL else None,
        source="openai",
        regenerate=answered.message_id if answered and last is None else None,
        engine=EngineFields(
            parameters=parameters_of(fields),
            content=parts if alone else None,
            before=answered.before if answered else None,
            input=None if alone else messages,
            instructions=body.instructions,
            max_tokens=body.max_output_tokens,
            response=fields,
        ),
    )


def _faults(body: ResponseBody) -> Iterator[Fault]:
    """The fields that are missing by what others say."""
    choice, form = body.tool_choice, body.text.format if body.text else None
    if isinstance(choice, ToolChoice) and choice.type == "function" and choice.name is None:
        yield "tool_choice.name", "it is missing"
    if not body.tools and choice not in (None, "none", "auto"):
        yield "tool_choice", "it needs tools"
    named = choice.name if isinstance(choice, ToolChoice) else None
    if named is not None and body.tools and named not in {tool.name for tool in body.tools}:
        yield "tool_choice.name", NOT_A_TOOL
    known = {tool.name for tool in body.tools or ()}
    for index, tool in enumerate(choice.tools if isinstance(choice, ToolChoice) else ()):
        if known and tool.get("name") not in (None, *known):
            yield f"tool_choice.tools[{index}].name", NOT_A_TOOL
    if form is not None and form.type == "json_schema":
        for name in ("name", "schema"):
            if getattr(form, name) is None:
                yield f"text.format.{name}", "it is missing"


def _place(asked: str | list[InputItem]) -> str:
    """The field of the last message of the user."""
    items = enumerate(() if isinstance(asked, str) else asked)
    places = [index for index, item in items if item.type == "message" and item.role == "user"]
    return f"input[{places[-1]}].content" if places else "input"


def _question(content: str | list[Json], field: str) -> tuple[str, list[Json] | None]:
    """The text of a message of the user, and its parts where it has any; raises OperatorError."""
    question = text_of(content)
    parts = content if isinstance(content, list) else None
    if (not question and parts is None) or len(question) > MAX_MESSAGE_CHARS:
        raise OperatorError.invalid(
            field, f"the user's text must have 1 to {MAX_MESSAGE_CHARS} characters"
        )
    return question, parts


def open_results(messages: list[dict[str, Json]]) -> list[str]:
    """The ids of the calls whose results are in ``messages`` and that are not there themselves."""
    known = {call["id"] for message in messages for call in message.get("tool_calls", ())}
    results = [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    return [identity for identity in results if identity not in known]


def _unanswered(messages: list[dict[str, Json]]) -> list[str]:
    """The ids of the calls in ``messages`` whose results are not there."""
    results = {message["tool_call_id"] for message in messages if message["role"] == "tool"}
    calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    return [identity for identity in calls if identity not in results]


def _check_plain(body: ResponseBody, messages: list[dict[str, Json]]) -> None:
    """Raise OperatorError for what an upstream that takes text alone cannot be sent."""
    if body.tools:
        raise OperatorError.invalid("tools", "the upstream of this service takes none")
    if any(
        isinstance(m["content"], list) or m.get("tool_calls") or m["role"] == "tool"
        for m in messages
    ):
        raise OperatorError.invalid("input", "the upstream of this service takes text only")


def messages_of(
    asked: str | Sequence[InputItem | dict[str, Json]], field: str = "input"
) -> list[dict[str, Json]]:
    """Items, which are the body's ``field``, as messages of chat completions; some are already.

    Raises OperatorError(validation_error).
    """
    if isinstance(asked, str):
        return [{"role": "user", "content": asked}]
    messages: list[dict[str, Json]] = []
    for index, item in enumerate(asked):
        if isinstance(item, dict):
            messages.append(item)
            continue
        match item.type:
            case "message":
                messages.append(message_of(item, f"{field}[{index}]"))
            case "function_call":
                call = call_of(item, f"{field}[{index}]")
                if messages and messages[-1]["role"] == "assistant":
                    messages[-1].setdefault("tool_calls", []).append(call)
                else:
                    messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            case "function_call_output":
                messages.append(result_of(item, f"{field}[{index}]"))
    return messages


def message_of(item: InputItem, field: str) -> dict[str, Json]:
    """A message as chat completions have it; raises OperatorError."""
    if item.role is None or item.content is None:
        missing = "role" if item.role is None else "content"
        raise OperatorError.invalid(f"{field}.{missing}", "it is missing")
    return {"role": item.role, "content": _content(item.content, f"{field}.content")}


def call_of(item: InputItem, field: str) -> dict[str, Json]:
    """A function call as the messages of chat completions have it; raises OperatorError."""
    for name in ("call_id", "name", "arguments"):
        if getattr(item, name) is None:
            raise OperatorError.invalid(f"{field}.{name}", "it is missing")
    function = {"name": item.name, "arguments": item.arguments}
    return {"id": item.call_id, "type": "function", "function": function}


def result_of(item: InputItem, field: str) -> dict[str, Json]:
    """A function's result as chat completions have it; raises OperatorError."""
    for name in ("call_id", "output"):
        if getattr(item, name) is None:
            raise OperatorError.invalid(f"{field}.{name}", "it is missing")
    assert item.output is not None
    content = _content(item.output, f"{field}.output")
    return {"role": "tool", "tool_call_id": item.call_id, "content": content}


def _content(content: str | list[InputPart], field: str) -> str | list[Json]:
    """A message's content: text where it is nothing else. Raises OperatorError(validation_error)
    for a part without content."""
    if isinstance(content, str):
        return content
    for index, part in enumerate(content):
        if part.type == "reasoning_text":
            raise OperatorError.invalid(f"{field}[{index}].type", "only reasoning has such parts")
        names = CONTENT_OF_PART[part.type]
        if all(getattr(part, name) is None for name in names):
            raise OperatorError.invalid(f"{field}[{index}].{names[0]}", "it is missing")
    if all(part.type not in ("input_image", "input_file") for part in content):
        return "".join(part.text or part.refusal or "" for part in content)
    return [_part(part) for part in content]


def _part(part: InputPart) -> dict[str, Json]:
    match part.type:
        case "input_image":
            url = {"url": part.image_url} | ({"detail": part.detail} if part.detail else {})
            return {"type": "image_url", "image_url": url}
        case "input_file":
            names = ("file_id", "file_data", "file_url", "filename")
            file = {name: value for name in names if (value := getattr(part, name)) is not None}
            return {"type": "file", "file": file}
    return {"type": "text", "text": part.text or part.refusal or ""}


def parameters_of(fields: dict[str, Json]) -> dict[str, Json]:
    """The fields of a response as parameters of chat completions; those that are not known go on
    as they are."""
    unsent = frozenset() if fields.get("tools") else OF_TOOLS
    given = {n: value for n, value in fields.items() if value is not None and n not in unsent}
    parameters = {name: value for name, value in given.items() if name not in TRANSLATED}
    if given.get("model") not in (None, ANY_MODEL):
        parameters["model"] = given["model"]
    if given.get("top_logprobs"):
        parameters["logprobs"] = True
    if tools := given.get("tools"):
        parameters["tools"] = [_nested("function", tool) for tool in tools]
    if (choice := given.get("tool_choice")) is not None:
        parameters["tool_choice"] = _tool_choice(choice)
    if effort := (given.get("reasoning") or {}).get("effort"):
        parameters["reasoning_effort"] = effort
    text = given.get("text") or {}
    if verbosity := text.get("verbosity"):
        parameters["verbosity"] = verbosity
    form = text.get("format") or {}
    if (kind := form.get("type", "text")) != "text":
        parameters["response_format"] = (
            _nested("json_schema", form) if kind == "json_schema" else form
        )
    return parameters


def _nested(kind: str, flat: dict[str, Json]) -> dict[str, Json]:
    """The object that chat completions nest under the name of its kind."""
    return {"type": kind, kind: {n: v for n, v in flat.items() if n != "type" and v is not None}}


def _tool_choice(choice: Json) -> Json:
    if isinstance(choice, str):
        return choice
    if choice["type"] == "function":
        return _nested("function", choice)
    tools = [_nested("function", tool) for tool in choice.get("tools", ())]
    return _nested("allowed_tools", {**choice, "tools": tools})
