"""Tool calls: the body that records one, and how clients see them.

Old scripts name the call in the query and send a bare object as the body: that is its ``result``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from operator_svc.models import Json
from operator_svc.protocol import decoding
from operator_svc.protocol.closed_sets import RecordedStatus
from operator_svc.protocol.ids import RowId

MAX_VALUE_BYTES = 256 * 1024
"""Largest ``arguments`` and ``result`` of a tool call, as JSON."""
ToolCallStatus = Annotated[Literal["pending", "ok", "error"], Meta(title="ToolCallStatus")]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
ErrorText = Annotated[str, Meta(max_length=10_000)]
Milliseconds = Annotated[float, Meta(ge=0, le=2**31)]
_OF_NAMED_CALL = frozenset({"message_id", "tool_call_id", "tool_name", "arguments", "result"})


class ToolCallBody(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call of a message; with ``tool_call_id`` the end of a pending one.

    ``duration_ms`` is in milliseconds.
    """

    message_id: RowId | None = None
    tool_call_id: RowId | None = None
    tool_name: Name | None = None
    status: ToolCallStatus | None = None
    duration_ms: Milliseconds | None = None
    arguments: Json = None
    result: Json = None
    error: ErrorText | None = None


class ToolCallView(msgspec.Struct, frozen=True):
    """A recorded tool call."""

    id: int
    message_id: int
    tool_name: str
    status: RecordedStatus
    duration_ms: int | None
    arguments: Any
    result: Any
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class ToolCallList(msgspec.Struct, frozen=True):
    """A page of a message's tool calls, oldest first."""

    tool_calls: list[ToolCallView]
    next_cursor: str | None


def with_bare_result(body: Json, query: Mapping[str, str]) -> Json:
    """The fields of a tool call. A body is its bare ``result`` where the query names the call,
    and the body has other fields than a call's and none that only a call has."""
    if not isinstance(body, dict):
        return body
    named_by_query = "tool_call_id" in query or {"message_id", "tool_name"} <= query.keys()
    strange = body.keys() - set(ToolCallBody.__struct_fields__)
    if named_by_query and strange and not body.keys() & _OF_NAMED_CALL:
        return {"result": body}
    return body


def check_tool_call(body: ToolCallBody) -> None:
    """Raise OperatorError(validation_error) for fields that do not go together."""
    decoding.check(_tool_call_faults(body))


def _tool_call_faults(body: ToolCallBody) -> Iterator[tuple[str, str]]:
    if body.tool_call_id is None:
        if body.message_id is None:
            yield "message_id", "it is missing"
        if body.tool_name is None:
            yield "tool_name", "it is missing"
    elif body.status not in ("ok", "error"):
        yield "status", "to finish a pending call it must be ok or error"
    for name, value in (("arguments", body.arguments), ("result", body.result)):
        yield from decoding.size_faults(name, value, MAX_VALUE_BYTES)
