"""OpenAI's Responses, made of replies.

Source: https://www.openresponses.org/specification, and what OpenAI's SDKs read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from operator_svc.errors import ErrorCode
from operator_svc.models import Json, ReplyStatus
from operator_svc.protocol import ids
from operator_svc.protocol.engine_fields import EngineFields
from operator_svc.protocol.openai import ANY_MODEL, usage_of
from operator_svc.protocol.response_items import output_of
from operator_svc.protocol.response_view import (
    ConversationOf,
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    ResponseFailure,
    ResponseUsage,
    ResponseView,
    Status,
)
from operator_svc.protocol.tool_calls import ToolCallView

STATUSES: dict[ReplyStatus, Status] = {
    ReplyStatus.STREAMING: "in_progress",
    ReplyStatus.COMPLETE: "completed",
    ReplyStatus.CANCELLED: "cancelled",
    ReplyStatus.FAILED: "failed",
    ReplyStatus.INTERRUPTED: "failed",
}
REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Reasons of an incomplete response, by the finish reason of the engine."""
CUT_SHORT = {
    ErrorCode.REPLY_TOO_LARGE: "max_output_tokens",
    ErrorCode.CONTENT_FILTERED: "content_filter",
}
"""Reasons of an incomplete response, by the error of the reply."""


DEFAULTS: dict[str, Any] = {
    "background": False, "store": True, "tool_choice": "auto", "parallel_tool_calls": True,
    "max_output_tokens": None, "max_tool_calls": None, "temperature": 1.0, "top_p": 1.0,
    "presence_penalty": 0.0, "frequency_penalty": 0.0, "top_logprobs": 0, "truncation": "disabled",
    "service_tier": "default", "safety_identifier": None, "prompt_cache_key": None, "user": None,
    "previous_response_id": None, "model": ANY_MODEL,
}  # fmt: skip
"""Values of a response's fields where the request gave none."""
TOOL_CHOICES: dict[str, dict[str, Json]] = {
    "function": {},
    "allowed_tools": {"mode": "auto", "tools": []},
}
"""Fields of a choice of tools, by its type, where the request gave none."""
FORMATS: dict[str, dict[str, Json]] = {"json_schema": {"description": None, "strict": False}}
"""Fields of a format of the text, by its type, where the request gave none."""


class ReplyState(NamedTuple):
    """A reply as far as it is stored."""

    status: ReplyStatus
    text: str
    metadata: dict[str, Any]
    calls: Sequence[ToolCallView] = ()
    ended_at: datetime | None = None


class Asked(NamedTuple):
    """The fields that a response was asked with, and the place of its reply."""

    reply_id: int
    session_id: str
    created_at: datetime
    engine: EngineFields
    metadata: dict[str, Json]

    def response(self, state: ReplyState) -> ResponseView:
        """The response, in a state."""
        status, reason = status_of(state)
        given = _given(self._requested())
        if isinstance(choice := given.get("tool_choice"), dict):
            given["tool_choice"] = {**TOOL_CHOICES[choice["type"]], **choice}
        return ResponseView(
            id=response_id(self.reply_id),
            created_at=int(self.created_at.timestamp()),
            completed_at=_seconds(state.ended_at) if status == "completed" else None,
            status=status,
            error=_failure(state.metadata) if status == "failed" else None,
            incomplete_details=IncompleteDetails(reason) if reason else None,
            instructions=self.engine.instructions,
            conversation=ConversationOf(conversation_id(self.session_id)),
            output=output_of(self.reply_id, state.text, state.calls, item_status(status)),
            usage=None if status == "in_progress" else _usage(state.metadata),
            metadata=self.metadata,
            tools=[_tool(tool) for tool in given.get("tools") or ()],
            reasoning={"effort": None, "summary": None, **(given.get("reasoning") or {})},
            text=_text(_given(given.get("text") or {})),
            **{name: given.get(name, default) for name, default in DEFAULTS.items()},
        )

    def _requested(self) -> dict[str, Json]:
        if self.engine.response is not None:
            return self.engine.response
        # A chat by another protocol names its fields as chat completions do.
        same = ("model", "temperature", "top_p", "presence_penalty", "frequency_penalty", "user")
        return {n: v for n, v in self.engine.parameters.items() if n in same}


def _failure(metadata: dict[str, Any]) -> ResponseFailure:
    """The reason why a reply failed. For an upstream's own failure, as for other callers, it says
    more than the code does."""
    code = ErrorCode.named(metadata.get("error")) or ErrorCode.SWITCH_ERROR
    detail = metadata.get("detail") if code is ErrorCode.SWITCH_ERROR else None
    return ResponseFailure("server_error", detail or code.summary)


def _given(fields: dict[str, Json]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _seconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp())


def _tool(tool: dict[str, Json]) -> dict[str, Json]:
    return {"description": None, "parameters": None, "strict": None, **tool}


def _text(text: dict[str, Json]) -> dict[str, Json]:
    """The options of the text, with a format that has all fields of its type."""
    form = {"type": "text", **_given(text.get("format") or {})}
    return {**text, "format": {**FORMATS.get(form["type"], {}), **form}}


def _usage(metadata: dict[str, Any]) -> ResponseUsage:
    counted, kept = usage_of(metadata), metadata.get("usage") or {}
    return ResponseUsage(
        input_tokens=counted.prompt_tokens,
        input_tokens_details=InputTokensDetails(kept.get("cached_tokens") or 0),
        output_tokens=counted.completion_tokens,
        output_tokens_details=OutputTokensDetails(kept.get("reasoning_tokens") or 0),
        total_tokens=counted.total_tokens,
    )


def status_of(state: ReplyState) -> tuple[Status, str | None]:
    """The status of a response, and why it is incomplete where it is."""
    status = STATUSES[state.status]
    if status in ("completed", "failed"):
        error = ErrorCode.named(state.metadata.get("error"))
        reason = (CUT_SHORT.get(error) if error else None) or REASONS.get(
            str(state.metadata.get("finish_reason"))
        )
        if reason is not None:
            return "incomplete", reason
    return status, None


def item_status(status: Status) -> str:
    """The status of a response's text."""
    return status if status in ("in_progress", "completed") else "incomplete"


# Ids.


def response_id(reply_id: int) -> str:
    """The id of the response that is a reply."""
    return f"resp_{reply_id}"


def conversation_id(session_id: str) -> str:
    """The id of the conversation that is a session."""
    return f"conv_{session_id}"


def reply_of(identity: str) -> int | None:
    """The reply that the id of a response names; None where it has not its form."""
    return ids.row_id(identity[5:]) if identity.startswith("resp_") else None


def session_of(identity: str) -> str | None:
    """The session that the id of a conversation names; None where it has not its form."""
    name = identity[5:]
    return name if identity.startswith("conv_") and ids.is_session_id(name) else None
