"""Tool calls, changes of Switch and feedback: what clients send of them, and what they see.

Old scripts send these fields in the query, and dictionaries in the JSON body: named ones for a
change of Switch, for a tool call a bare object that is its ``result``. Where body and query both
give a field, the body wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Json, SwitchAdjustment, SwitchFeedback
from operator_svc.protocol.bodies import MessageId, SessionId, ToolCallView

MAX_VALUE_BYTES = 256 * 1024
"""Largest ``arguments`` and ``result`` of a tool call, as JSON."""
MAX_CONFIG_BYTES = 32 * 1024
"""Largest ``before_config`` and ``after_config``, as JSON: both stand in each event."""
MODES = ("ECO", "BALANCED", "HIGH-PERF", "CRITICAL")
"""What Switch's ``set_mode`` takes (its own list, read on the day of the audit)."""
APPLICABLE = ("mode", "default_model", "preload_model")
"""What of a configuration Switch can be told, in the order in which it is: the last one can not
be undone."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
ErrorText = Annotated[str, Meta(max_length=10_000)]
Milliseconds = Annotated[float, Meta(ge=0, le=2**31)]
Tokens = Annotated[int, Meta(ge=0, le=2**31)]
Config = dict[str, Any]
_JSON_FIELDS = frozenset({"arguments", "result", "before_config", "after_config"})
_OF_NAMED_CALL = frozenset({"message_id", "tool_call_id", "tool_name", "arguments", "result"})


class ToolCallBody(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call of a message; with ``tool_call_id`` the end of a pending one.

    ``duration_ms`` is in milliseconds.
    """

    message_id: MessageId | None = None
    tool_call_id: MessageId | None = None
    tool_name: Name | None = None
    status: Literal["pending", "ok", "error"] | None = None
    duration_ms: Milliseconds | None = None
    arguments: Json = None
    result: Json = None
    error: ErrorText | None = None


class AdjustmentBody(msgspec.Struct, frozen=True, kw_only=True):
    """A change of Switch; ``before_config`` left out is read from Switch."""

    after_config: Config
    reason: Annotated[str, Meta(min_length=1, max_length=2000)]
    before_config: Config | None = None
    session_id: SessionId | None = None
    message_id: MessageId | None = None


class FeedbackBody(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine did. The published UI says ``error_msg``. A failure need not have taken a
    time that anybody knows; a success did."""

    engine: Name
    success: bool
    latency_ms: Milliseconds | None = None
    tokens_used: Tokens | None = None
    error_message: ErrorText | None = None
    error_msg: ErrorText | None = None
    session_id: SessionId | None = None
    message_id: MessageId | None = None


class ToolCallList(msgspec.Struct, frozen=True):
    """A page of a message's tool calls, oldest first."""

    tool_calls: list[ToolCallView]
    next_cursor: str | None


class AdjustmentView(msgspec.Struct, frozen=True, kw_only=True):
    """A change of Switch. ``error`` is why it was not applied or reverted the last time."""

    id: int
    session_id: str | None
    message_id: int | None
    before_config: Json
    after_config: Json
    reason: str
    applied: bool
    applied_at: datetime | None
    reverted_at: datetime | None
    error: str | None
    created_at: datetime


class AdjustmentAnswer(AdjustmentView, frozen=True, kw_only=True):
    """A change with what old clients read of it."""

    adjustment_id: int
    status: Literal["ok"] = "ok"


class AdjustmentList(msgspec.Struct, frozen=True):
    """A page of changes, newest first."""

    adjustments: list[AdjustmentView]
    next_cursor: str | None


class FeedbackAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Feedback that is kept. ``forwarded_at`` is null until Switch has been told."""

    id: int
    session_id: str | None
    message_id: int | None
    engine: str
    success: bool
    latency_ms: int
    tokens_used: int
    error_message: str | None
    forwarded_at: datetime | None
    created_at: datetime
    status: Literal["recorded"] = "recorded"


class EngineView(msgspec.Struct, frozen=True, kw_only=True):
    """What feedback says of an engine. Latencies are of successes only; null where there are
    none. ``score`` is from 0 to 1, the formula stands in docs/system.md."""

    engine: str
    calls: int
    success_rate: float
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    tokens: int
    score: float


class Unknown(msgspec.Struct, frozen=True):
    """Why something is not known."""

    error: str
    detail: str


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """A change that feedback speaks for: a body for ``POST /operator/switch/adjustment``.
    ``before_config`` is left out where Switch does not say what it uses."""

    before_config: Config | UnsetType = UNSET
    after_config: Config
    reason: str


class EngineRanking(msgspec.Struct, frozen=True):
    """Engines, best first, by the feedback of the last ``window`` seconds."""

    engines: list[EngineView]
    recommend: Recommendation | None
    recommend_error: Unknown | None
    window: int


def adjustment_view(row: SwitchAdjustment) -> AdjustmentView:
    """A change as clients see it."""
    return AdjustmentView(**{name: getattr(row, name) for name in AdjustmentView.__struct_fields__})


def adjustment_answer(row: SwitchAdjustment) -> AdjustmentAnswer:
    """A change as the answer to its POST."""
    shown = {name: getattr(row, name) for name in AdjustmentView.__struct_fields__}
    return AdjustmentAnswer(adjustment_id=row.id, **shown)


def feedback_answer(row: SwitchFeedback) -> FeedbackAnswer:
    """Feedback as the answer to its POST."""
    names = FeedbackAnswer.__struct_fields__[:-1]
    return FeedbackAnswer(**{name: getattr(row, name) for name in names})


def with_query(
    body: Mapping[str, Any], query: Mapping[str, str], struct: type[msgspec.Struct]
) -> dict[str, Any]:
    """``body`` with the fields that only the query has, read from their text."""
    merged = dict(body)
    for info in msgspec.structs.fields(struct):
        name = info.encode_name
        text = query.get(name)
        if text is not None and name not in body:
            merged[name] = _from_text(name, text, info.type)
    return merged


def _from_text(name: str, text: str, kind: Any) -> Any:
    try:
        if name in _JSON_FIELDS:
            return msgspec.json.decode(text)
        return msgspec.to_builtins(msgspec.convert(text, kind, strict=False))
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError):
        return text  # what is wrong with it is said together with the other fields' faults


def tool_call_fields(body: Any, query: Mapping[str, str]) -> Any:
    """The fields of a tool call. A body is its bare ``result`` where the query names the call,
    and the body has other fields than a call's and none that only a call has."""
    if not isinstance(body, dict):
        return body
    named_by_query = "tool_call_id" in query or {"message_id", "tool_name"} <= query.keys()
    strange = body.keys() - set(ToolCallBody.__struct_fields__)
    if named_by_query and strange and not body.keys() & _OF_NAMED_CALL:
        body = {"result": body}
    return with_query(body, query, ToolCallBody)


def check_tool_call(body: ToolCallBody) -> None:
    """Raises OperatorError(validation_error) for fields that do not go together."""
    _refuse(_tool_call_faults(body))


def _tool_call_faults(body: ToolCallBody) -> Iterator[tuple[str, str]]:
    if body.tool_call_id is None:
        if body.message_id is None:
            yield "message_id", "it is missing"
        if body.tool_name is None:
            yield "tool_name", "it is missing"
    elif body.status not in ("ok", "error"):
        yield "status", "to finish a pending call it must be ok or error"
    for name, value in (("arguments", body.arguments), ("result", body.result)):
        yield from _size_faults(name, value, MAX_VALUE_BYTES)


def check_adjustment(body: AdjustmentBody) -> None:
    """Raises OperatorError(validation_error) for a configuration that Switch can not have."""
    _refuse(_adjustment_faults(body))


def _adjustment_faults(body: AdjustmentBody) -> Iterator[tuple[str, str]]:
    for name, config in (
        ("before_config", body.before_config),
        ("after_config", body.after_config),
    ):
        if config is None:
            continue
        yield from _size_faults(name, config, MAX_CONFIG_BYTES)
        for key in APPLICABLE:
            value = config.get(key)
            if value is None:
                continue
            if not isinstance(value, str) or not 1 <= len(value) <= 200:
                yield f"{name}.{key}", "it must be a text of 1 to 200 characters"
            elif key == "mode" and value not in MODES:
                yield f"{name}.mode", f"it must be one of {', '.join(MODES)}"


def check_feedback(body: FeedbackBody) -> None:
    """Raises OperatorError(validation_error) for a success of unknown duration."""
    if body.success and body.latency_ms is None:
        raise OperatorError.invalid("latency_ms", "it is missing")


def _size_faults(name: str, value: Json, most: int) -> Iterator[tuple[str, str]]:
    if value is not None and len(msgspec.json.encode(value)) > most:
        yield name, f"it has more than {most} bytes as JSON"


def _refuse(faults: Iterator[tuple[str, str]]) -> None:
    found = [{"field": name, "reason": reason} for name, reason in faults]
    if found:
        shown = "; ".join(f"{fault['field']}: {fault['reason']}" for fault in found[:5])
        raise OperatorError(ErrorCode.VALIDATION_ERROR, shown, errors=found)
