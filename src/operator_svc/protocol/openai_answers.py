"""Answers of OpenAI's protocol of chat completions, its models and its failures.

Source: https://platform.openai.com/docs/api-reference/chat, and what its SDKs read.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from operator_svc.models import Json

OWNED_BY = "operator"


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Tokens of the prompt that a cache held."""

    cached_tokens: int
    """Tokens that were read from a cache."""


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """Tokens of the reply that were reasoning."""

    reasoning_tokens: int
    """Tokens of reasoning."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as the upstream counted them; 0 where it did not, and no details where it gave
    none."""

    prompt_tokens: int
    """Tokens of the prompt."""
    completion_tokens: int
    """Tokens of the reply."""
    total_tokens: int
    """Tokens of both."""
    prompt_tokens_details: PromptTokensDetails | UnsetType = UNSET
    """Of the prompt's tokens, those of a cache."""
    completion_tokens_details: CompletionTokensDetails | UnsetType = UNSET
    """Of the reply's tokens, those of reasoning."""


class AssistantMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The reply; ``content`` is null where there are tool calls alone."""

    role: str = "assistant"
    """Always ``assistant``."""
    content: str | None
    """The text."""
    refusal: str | None = None
    """Always null."""
    reasoning_content: str | UnsetType = UNSET
    """The model's reasoning, where it gives any."""
    tool_calls: list[dict[str, Json]] | UnsetType = UNSET
    """Functions that the model asks for."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The one choice of an answer."""

    index: int = 0
    """Always 0."""
    message: AssistantMessage
    """The reply."""
    finish_reason: str
    """The reason why the model ended."""
    logprobs: Json = None
    """Always null."""


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer; ``id`` has the id of the reply, ``created`` is in seconds."""

    id: str
    """``chatcmpl-`` and the id of the reply."""
    object: str = "chat.completion"
    """The kind of object."""
    created: int
    """The time of the reply, in seconds since 1970."""
    model: str
    """The model that was asked for."""
    choices: list[Choice]
    """The one choice."""
    usage: Usage
    """Tokens that were used."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that may be asked for; ``created`` is when Operator first saw it, in seconds."""

    id: str
    """The model's name."""
    object: str = "model"
    """The kind of object."""
    created: int
    """The time at which it was first seen, in seconds since 1970."""
    owned_by: str = OWNED_BY
    """The owner's name."""


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """All models, never none."""

    object: str = "list"
    """The kind of object."""
    data: list[Model]
    """The models."""


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """A failure, as the SDKs read it; ``param`` names a field."""

    message: str
    """The failure, for people."""
    type: str
    """The kind of failure."""
    param: str | None
    """The field that is wrong."""
    code: str | None
    """The error's code."""


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of a failed call under ``/v1``."""

    error: ErrorBody
    """The failure."""
