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
    """The message that the call belongs to."""
    tool_call_id: RowId | None = None
    """The pending call that this ends."""
    tool_name: Name | None = None
    """The tool's name."""
    status: ToolCallStatus | None = None
    """The call's state; ``pending`` if not given."""
    duration_ms: Milliseconds | None = None
    """Milliseconds that it took."""
    arguments: Json = None
    """The arguments, at most 256 KiB as JSON."""
    result: Json = None
    """The result, at most 256 KiB as JSON."""
    error: ErrorText | None = None
    """The reason of a failure."""


class ToolCallView(msgspec.Struct, frozen=True):
    """A recorded tool call."""

    id: int
    """The tool call's id."""
    message_id: int
    """The message that it belongs to."""
    tool_name: str
    """The tool's name."""
    status: RecordedStatus
    """The call's state."""
    duration_ms: int | None
    """Milliseconds that it took."""
    arguments: Any
    """The arguments."""
    result: Any
    """The result."""
    error: str | None
    """The reason of a failure."""
    created_at: datetime
    """The time at which it was stored."""
    finished_at: datetime | None
    """The time at which it ended."""


class ToolCallList(msgspec.Struct, frozen=True):
    """A page of a message's tool calls, oldest first."""

    tool_calls: list[ToolCallView]
    """The tool calls, oldest first."""
    next_cursor: str | None
    """The ``cursor`` that asks for the next page; null at the end."""


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
