"""The bodies of calls for chat completions.

Source: https://platform.openai.com/docs/api-reference/chat, and what OpenAI's SDKs send.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from operator_svc.models import Json

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

AllowedToolsMode = Annotated[Literal["auto", "required"], Meta(title="AllowedToolsMode")]


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


class ChosenFunction(msgspec.Struct, frozen=True):
    """A function that is chosen."""

    name: Name
    """The function's name."""


class AllowedTools(msgspec.Struct, frozen=True):
    """The tools to choose from."""

    mode: AllowedToolsMode
    """``required`` where one of them must be called."""
    tools: list[dict[str, Json]]
    """The tools, each by its name."""


class ChosenTool(msgspec.Struct, frozen=True, kw_only=True):
    """The tool to call, or the tools to choose from."""

    type: Kind
    """The kind of choice."""
    function: ChosenFunction | None = None
    """The one function to call."""
    allowed_tools: AllowedTools | None = None
    """The functions to choose from."""


class JsonSchemaFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the text, as JSON Schema."""

    name: Name
    """The name of the form."""
    description: str | None = None
    """The form's purpose, for the model."""
    schema: dict[str, Json] | None = None
    """The JSON Schema."""
    strict: bool | None = None
    """True where the text must fit the schema."""


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the text."""

    type: Kind
    """The kind of format."""
    json_schema: JsonSchemaFormat | None = None
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
