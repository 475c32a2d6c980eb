"""The bodies of calls for chat completions.

Source: https://platform.openai.com/docs/api-reference/chat, and what OpenAI's SDKs send.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from operator_svc.models import Json
from operator_svc.protocol.faults import Fault

MAX_MESSAGES = 1000
MAX_TOOLS = 128
Count = Annotated[int, Meta(ge=1, lt=2**31)]
Kind = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
Stops = Annotated[list[str], Meta(max_length=4)]
CompletionRole = Annotated[
    Literal["system", "developer", "user", "assistant", "tool"], Meta(title="CompletionRole")
]
CompletionToolChoice = Annotated[
    Literal["none", "auto", "required"], Meta(title="CompletionToolChoice")
]


class ImageUrl(msgspec.Struct, frozen=True):
    """The address of an image."""

    url: str
    """The address, or the image itself as a ``data:`` URL."""
    detail: str | None = None
    """The detail in which the image is to be seen."""


class ContentPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a message's content; the upstream decides which types it accepts."""

    type: Kind
    """The kind of part; each has a field of its own."""
    text: str | None = None
    """The text."""
    refusal: str | None = None
    """The text of a refusal."""
    image_url: ImageUrl | None = None
    """The address of an image."""
    input_audio: dict[str, Json] | None = None
    """A sound and its format."""
    file: dict[str, Json] | None = None
    """A file, by its id or its content."""


class CalledFunction(msgspec.Struct, frozen=True):
    """A function that was called."""

    name: str
    """The function's name."""
    arguments: str
    """The function's arguments, as JSON."""


class CalledTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that an assistant's message made."""

    id: Name
    """The call's id."""
    type: Kind = "function"
    """The kind of tool."""
    function: CalledFunction | None = None
    """The function, where it is one."""


class MessageParam(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the conversation that a client brings."""

    role: CompletionRole
    """The speaker."""
    content: str | list[ContentPart] | None = None
    """The text, or its parts."""
    name: str | None = None
    """The speaker's name."""
    refusal: str | None = None
    """The text of a refusal, of an assistant's message."""
    tool_calls: list[CalledTool] | None = None
    """Tool calls that an assistant's message made."""
    tool_call_id: Name | None = None
    """The call that a tool's message answers."""
    function_call: CalledFunction | None = None
    """The older form of a tool call."""
    audio: dict[str, Json] | None = None
    """The id of an earlier spoken reply."""


class StreamOptions(msgspec.Struct, frozen=True):
    """Options of a stream."""

    include_usage: bool | None = None
    """True for one more chunk, with the tokens that were used."""


class CompletionFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call."""

    name: Name
    """The function's name."""
    description: str | None = None
    """The function's purpose, for the model."""
    parameters: dict[str, Json] | None = None
    """The parameters, as JSON Schema."""
    strict: bool | None = None
    """True where the arguments must fit the parameters."""


class CompletionTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model may call; the upstream decides which types it accepts."""

    type: Kind
    """The kind of tool."""
    function: CompletionFunction | None = None
    """The function, where it is one."""


class ChosenTool(msgspec.Struct, frozen=True, kw_only=True):
    """The tool to call, or the tools to choose from."""

    type: Kind
    """The kind of choice."""
    function: dict[str, Json] | None = None
    """The one function to call."""
    allowed_tools: dict[str, Json] | None = None
    """The functions to choose from."""


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the text."""

    type: Kind
    """The kind of format."""
    json_schema: dict[str, Json] | None = None
    """The form of the text, as JSON Schema, with its name."""


class ChatCompletionBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a call for a completion. Fields that are not known travel to the engine."""

    messages: Annotated[list[MessageParam], Meta(min_length=1, max_length=MAX_MESSAGES)]
    """The conversation; its last message of the user is the one to answer."""
    model: Annotated[str, Meta(max_length=200)] | None = None
    """The model; ``operator`` leaves the choice to the upstream."""
    stream: bool | None = None
    """True for a stream of chunks."""
    stream_options: StreamOptions | None = None
    """Options of the stream."""
    n: int | None = None
    """Choices to give; only 1."""
    metadata: dict[str, Json] | None = None
    """Metadata of the message; ``session_id`` in it names the session."""
    store: bool | None = None
    """False for a session that ends with the call."""
    background: bool | None = None
    """True for a reply that continues if the client disconnects."""
    tools: Annotated[list[CompletionTool], Meta(max_length=MAX_TOOLS)] | None = None
    """Tools that the model may call."""
    tool_choice: CompletionToolChoice | ChosenTool | None = None
    """The tools that it must call."""
    parallel_tool_calls: bool | None = None
    """False to permit only one tool call at a time."""
    response_format: ResponseFormat | None = None
    """The form of the text."""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    """The randomness of the reply."""
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    """The probability mass that tokens are taken from."""
    presence_penalty: Penalty | None = None
    """The penalty of tokens that were there before."""
    frequency_penalty: Penalty | None = None
    """The penalty of tokens by how often they were there before."""
    max_tokens: Count | None = None
    """The most tokens of the reply."""
    max_completion_tokens: Count | None = None
    """The most tokens of the reply, with those of reasoning."""
    stop: str | Stops | None = None
    """Texts at which the reply ends."""
    seed: int | None = None
    """A number for which the reply is to be the same each time."""
    logprobs: bool | None = None
    """True where the likeliness of tokens is asked for."""
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    """The number of most likely tokens to return at each position."""
    logit_bias: dict[str, Bias] | None = None
    """The likeliness that is added to tokens."""
    reasoning_effort: str | None = None
    """The effort that reasoning may take."""
    verbosity: str | None = None
    """The length of the text."""
    service_tier: str | None = None
    """The upstream's class of service."""
    user: str | None = None
    """The upstream's name for the end user."""


STAYS = frozenset(
    {"messages", "model", "stream", "stream_options", "n", "metadata", "store", "background"}
)
"""Fields that Operator itself uses; all others travel to the engine as they came."""
PARTS = frozenset({"text", "refusal", "image_url", "input_audio", "file"})
"""Types of parts that must have a field of the same name."""
MISSING = "it is missing"


def faults_of(body: ChatCompletionBody) -> Iterator[Fault]:
    """The fields that are wrong by what others say."""
    for index, message in enumerate(body.messages):
        yield from _message_faults(message, f"messages[{index}]")
    for index, tool in enumerate(body.tools or ()):
        if tool.type == "function" and tool.function is None:
            yield f"tools[{index}].function", MISSING
    if isinstance(choice := body.tool_choice, ChosenTool):
        if choice.type == "function" and choice.function is None:
            yield "tool_choice.function", MISSING
        if choice.type == "allowed_tools" and choice.allowed_tools is None:
            yield "tool_choice.allowed_tools", MISSING
    form = body.response_format
    if form is not None and form.type == "json_schema" and form.json_schema is None:
        yield "response_format.json_schema", MISSING
    yield from _parameter_faults(body)


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
