"""OpenAI's Responses as they are answered.

Source: https://www.openresponses.org/specification, and what OpenAI's SDKs read.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from operator_svc.models import Json

Status: TypeAlias = Annotated[
    Literal["in_progress", "completed", "failed", "incomplete", "cancelled"],
    Meta(title="ResponseStatus"),
]


class ConversationOf(msgspec.Struct, frozen=True):
    """The conversation that a response belongs to."""

    id: str
    """``conv_`` and the session's id."""


class IncompleteDetails(msgspec.Struct, frozen=True):
    """The reason why a response is incomplete."""

    reason: str
    """``max_output_tokens``, or ``content_filter``."""


class ResponseFailure(msgspec.Struct, frozen=True):
    """The reason why a response failed."""

    code: str
    """The error's code."""
    message: str
    """The failure, for people."""


class InputTokensDetails(msgspec.Struct, frozen=True):
    """Tokens of the input that a cache held."""

    cached_tokens: int = 0
    """Tokens that were read from a cache."""
    cache_write_tokens: int = 0
    """Tokens that were written to a cache."""


class OutputTokensDetails(msgspec.Struct, frozen=True):
    """Tokens of the output that were reasoning."""

    reasoning_tokens: int = 0
    """Tokens of reasoning."""


class ResponseUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, as the upstream counted them; 0 where it did not."""

    input_tokens: int
    """Tokens of the input."""
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    """Of these, those of a cache."""
    output_tokens: int
    """Tokens of the output."""
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    """Of these, those of reasoning."""
    total_tokens: int
    """Tokens of both."""


class ResponseView(msgspec.Struct, frozen=True, kw_only=True):
    """A response: a reply, and what it was asked with. ``id`` has the id of the reply, that of
    ``conversation`` the session's; times are in seconds."""

    id: str
    """``resp_`` and the id of the reply."""
    object: str = "response"
    """The kind of object."""
    created_at: int
    """The time at which it began, in seconds since 1970."""
    completed_at: int | None
    """The time at which it ended, in seconds since 1970."""
    status: Status
    """The response's state."""
    error: ResponseFailure | None
    """The failure, where it failed."""
    incomplete_details: IncompleteDetails | None
    """The reason, where it is incomplete."""
    model: str
    """The model that was asked for."""
    instructions: str | None
    """The system message of the call."""
    previous_response_id: str | None
    """The response whose session went on."""
    conversation: ConversationOf
    """The session."""
    output: list[dict[str, Json]]
    """The items of the reply."""
    usage: ResponseUsage | None
    """Tokens that were used."""
    metadata: dict[str, Json]
    """Metadata of the message."""
    background: bool
    """True where it went on without its caller."""
    store: bool
    """False where it was deleted with its end."""
    tools: list[dict[str, Json]]
    """Functions that the model might call."""
    tool_choice: Json
    """The functions that it had to call."""
    parallel_tool_calls: bool
    """False where one call at a time was wanted."""
    max_output_tokens: int | None
    """The most tokens of the reply."""
    max_tool_calls: int | None
    """The most calls of functions."""
    temperature: float
    """The randomness of the reply."""
    top_p: float
    """The probability mass that tokens were taken from."""
    presence_penalty: float
    """The penalty of tokens that were there before."""
    frequency_penalty: float
    """The penalty of tokens by how often they were there before."""
    top_logprobs: int
    """The number of most likely tokens to return at each position."""
    reasoning: dict[str, Json]
    """Options of the model's reasoning."""
    text: dict[str, Json]
    """Options of the text."""
    truncation: str
    """The treatment of an input that is too long."""
    service_tier: str
    """The upstream's class of service."""
    safety_identifier: str | None
    """The upstream's id for the end user."""
    prompt_cache_key: str | None
    """The upstream's key of its cache of prompts."""
    user: str | None
    """The upstream's name for the end user."""


class ResponseItems(msgspec.Struct, frozen=True, kw_only=True):
    """A page of items; ``last_id`` asks for the next one."""

    object: str = "list"
    """The kind of object."""
    data: list[dict[str, Json]]
    """The items."""
    first_id: str | None
    """The id of the first one."""
    last_id: str | None
    """The id of the last one, which ``after`` takes."""
    has_more: bool
    """True where there are more."""


class ResponseDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """A response that was deleted."""

    id: str
    """``resp_`` and the id of the reply."""
    object: str = "response.deleted"
    """The kind of object."""
    deleted: bool = True
    """Always true."""
