"""The bodies of calls for responses, and the items of their input.

Source: https://www.openresponses.org/specification, and what OpenAI's SDKs send.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from operator_svc.models import Json

MAX_ITEMS = 1000
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Pairs = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]
"""Metadata of a response or a conversation."""
InputPartType = Annotated[
    Literal["input_text", "output_text", "text", "refusal", "input_image", "input_file"],
    Meta(title="InputPartType"),
]
InputItemType = Annotated[
    Literal["message", "function_call", "function_call_output", "reasoning"],
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
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None


class InputItem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An item of the input; one that has no type is a message."""

    type: InputItemType = "message"
    role: InputRole | None = None
    content: str | list[InputPart] | None = None
    call_id: Name | None = None
    name: Name | None = None
    arguments: str | None = None
    output: str | list[InputPart] | None = None


class FunctionTool(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A function that the model may call."""

    type: Literal["function"]
    name: Name
    description: str | None = None
    parameters: dict[str, Json] | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The one function to call, or the functions to choose from."""

    type: ToolChoiceType
    name: str | None = None
    mode: ToolChoiceMode = "auto"
    tools: list[dict[str, Json]] = []


class TextFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the text; ``schema`` is JSON Schema."""

    type: TextFormatType = "text"
    name: str | None = None
    schema: dict[str, Json] | None = None
    description: str | None = None
    strict: bool | None = None


class TextOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the text."""

    format: TextFormat | None = None
    verbosity: Verbosity | None = None


class ReasoningOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the model's reasoning."""

    effort: str | None = None
    summary: str | None = None


class ConversationId(msgspec.Struct, frozen=True):
    """A conversation, named by its id."""

    id: str


class ResponseBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a call for a response. Fields that are not known travel to the engine."""

    input: str | Annotated[list[InputItem], Meta(max_length=MAX_ITEMS)]
    model: Annotated[str, Meta(max_length=200)] | None = None
    instructions: Annotated[str, Meta(max_length=100_000)] | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationId | None = None
    stream: bool | None = None
    stream_options: dict[str, Json] | None = None
    background: bool | None = None
    store: bool | None = None
    include: list[str] | None = None
    metadata: Pairs | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: ToolChoiceName | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, lt=2**31)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    truncation: Truncation | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
