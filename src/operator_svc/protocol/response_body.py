"""The bodies of calls for responses, and the items of their input.

Source: https://www.openresponses.org/specification, and what OpenAI's SDKs send.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from operator_svc.models import Json
from operator_svc.protocol.completion_body import MAX_TOOLS

MAX_ITEMS = 1000
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Pairs = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]
"""Metadata of a response or a conversation."""
InputPartType = Annotated[
    Literal[
        "input_text", "output_text", "text", "refusal", "input_image", "input_file",
        "reasoning_text",
    ],
    Meta(title="InputPartType"),
]  # fmt: skip
InputItemType = Annotated[
    Literal["message", "function_call", "function_call_output", "reasoning", "item_reference"],
    Meta(title="InputItemType"),
]
InputRole = Annotated[Literal["system", "developer", "user", "assistant"], Meta(title="InputRole")]
ToolChoiceType = Annotated[Literal["function", "allowed_tools"], Meta(title="ToolChoiceType")]
ToolChoiceMode = Annotated[Literal["auto", "required"], Meta(title="ToolChoiceMode")]
TextFormatType = Annotated[
    Literal["text", "json_object", "json_schema"], Meta(title="TextFormatType")
]
Verbosity = Annotated[Literal["low", "medium", "high"], Meta(title="Verbosity")]
ToolChoiceName = Annotated[Literal["none", "auto", "required"], Meta(title="ToolChoiceName")]
Truncation = Annotated[Literal["auto", "disabled"], Meta(title="Truncation")]


class InputPart(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A part of a message's content."""

    type: InputPartType
    """The kind of part."""
    text: str | None = None
    """The text."""
    refusal: str | None = None
    """The text of a refusal."""
    image_url: str | None = None
    """The address of an image, or its data."""
    detail: str | None = None
    """The detail in which the image is to be seen."""
    file_id: str | None = None
    """The id of a file."""
    file_data: str | None = None
    """The file's content, in base64."""
    file_url: str | None = None
    """The address of a file."""
    filename: str | None = None
    """The file's name."""


class SummaryPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a reasoning item's summary."""

    type: Literal["summary_text"]
    """Always ``summary_text``."""
    text: str
    """The text."""


class InputItem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An item of the input; one that has no type is a message. A reference names an item of a
    response, by its id."""

    type: InputItemType = "message"
    """The kind of item."""
    id: Annotated[str, Meta(max_length=200)] | None = None
    """The id of the item that a reference names."""
    role: InputRole | None = None
    """The speaker of a message."""
    content: str | list[InputPart] | None = None
    """The text of a message, or its parts; the text of a reasoning item."""
    call_id: Name | None = None
    """The function call's id."""
    name: Name | None = None
    """The function's name."""
    arguments: str | None = None
    """The function's arguments, as JSON."""
    output: str | list[InputPart] | None = None
    """The function's result."""
    summary: list[SummaryPart] | None = None
    """The parts of a reasoning item's summary."""
    encrypted_content: str | None = None
    """The text of a reasoning item, encrypted by who made it."""


class FunctionTool(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A function that the model may call."""

    type: Literal["function"]
    """Always ``function``."""
    name: Name
    """The function's name."""
    description: str | None = None
    """The function's purpose, for the model."""
    parameters: dict[str, Json] | None = None
    """The parameters, as JSON Schema."""
    strict: bool | None = None
    """True where the arguments must fit the parameters."""


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The one function to call, or the functions to choose from."""

    type: ToolChoiceType
    """The kind of choice."""
    name: str | None = None
    """The one function to call."""
    mode: ToolChoiceMode = "auto"
    """``required`` where one of them must be called."""
    tools: list[dict[str, Json]] = []
    """The functions to choose from."""


class TextFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the text; ``schema`` is JSON Schema."""

    type: TextFormatType = "text"
    """The kind of format."""
    name: str | None = None
    """The format's name."""
    schema: dict[str, Json] | None = None
    """The form of the text, as JSON Schema."""
    description: str | None = None
    """The format's purpose, for the model."""
    strict: bool | None = None
    """True where the text must fit the schema."""


class TextOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the text."""

    format: TextFormat | None = None
    """The form of the text."""
    verbosity: Verbosity | None = None
    """The length of the text."""


class ReasoningOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the model's reasoning."""

    effort: str | None = None
    """The effort that reasoning may take."""
    summary: str | None = None
    """The kind of summary of the reasoning."""


class ConversationId(msgspec.Struct, frozen=True):
    """A conversation, named by its id."""

    id: str
    """``conv_`` and the session's id."""


class ResponseBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a call for a response. Fields that are not known travel to the engine."""

    input: str | Annotated[list[InputItem], Meta(max_length=MAX_ITEMS)]
    """The text to answer, or items."""
    model: Annotated[str, Meta(max_length=200)] | None = None
    """The model; ``operator`` leaves the choice to the upstream."""
    instructions: Annotated[str, Meta(max_length=100_000)] | None = None
    """A system message for this call alone."""
    previous_response_id: str | None = None
    """The response whose session is continued."""
    conversation: str | ConversationId | None = None
    """The conversation that the response belongs to."""
    stream: bool | None = None
    """True for a stream of events."""
    stream_options: dict[str, Json] | None = None
    """Options of the stream."""
    background: bool | None = None
    """True to respond at once and write the reply in the background."""
    store: bool | None = None
    """False for a response that is deleted with its end."""
    include: list[str] | None = None
    """Further fields to answer; none has an effect."""
    metadata: Pairs | None = None
    """Metadata of the message."""
    tools: Annotated[list[FunctionTool], Meta(max_length=MAX_TOOLS)] | None = None
    """Functions that the model may call."""
    tool_choice: ToolChoiceName | ToolChoice | None = None
    """The functions that it must call."""
    parallel_tool_calls: bool | None = None
    """False to permit only one tool call at a time."""
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    """The most calls of functions."""
    max_output_tokens: Annotated[int, Meta(ge=1, lt=2**31)] | None = None
    """The most tokens of the reply."""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    """The randomness of the reply."""
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    """The probability mass that tokens are taken from."""
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    """The penalty of tokens that were there before."""
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    """The penalty of tokens by how often they were there before."""
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    """The number of most likely tokens to return at each position."""
    reasoning: ReasoningOptions | None = None
    """Options of the model's reasoning."""
    text: TextOptions | None = None
    """Options of the text."""
    truncation: Truncation | None = None
    """The treatment of an input that is too long."""
    service_tier: str | None = None
    """The upstream's class of service."""
    user: str | None = None
    """The upstream's name for the end user."""
    safety_identifier: str | None = None
    """The upstream's id for the end user."""
    prompt_cache_key: str | None = None
    """The upstream's key of its cache of prompts."""
