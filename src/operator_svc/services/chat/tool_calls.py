"""Tool calls: what clients tell of them, and those that Switch streams with a reply."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

import msgspec
import structlog

from operator_svc.db import ConstraintViolation
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, Json, ToolCallStatus
from operator_svc.peers.chat_types import ToolCallPart, milliseconds_or_none, text_or_none
from operator_svc.protocol.tool_calls import (
    MAX_VALUE_BYTES,
    ToolCallBody,
    ToolCallList,
    ToolCallView,
    check_tool_call,
)
from operator_svc.services.access import HasMessages, after_id
from operator_svc.services.chat.history import tool_call_view
from operator_svc.services.live.hub import SessionHub
from operator_svc.stores.tool_calls import ToolCallStore, WrittenToolCall

log = structlog.get_logger(__name__)

RECORDED = "tool_call.recorded"
ATTEMPTS = 4
PAUSE = 0.1
"""Seconds between attempts to store a streamed call; each pause is twice the one before."""
REMEMBERED = 10_000
"""Streamed calls that wait for their result; the oldest are forgotten first."""
MAX_NAME = 200
MAX_ERROR = 10_000

_STATUSES = {
    "pending": ToolCallStatus.PENDING, "running": ToolCallStatus.PENDING,
    "started": ToolCallStatus.PENDING, "queued": ToolCallStatus.PENDING,
    "ok": ToolCallStatus.OK, "success": ToolCallStatus.OK, "completed": ToolCallStatus.OK,
    "done": ToolCallStatus.OK, "error": ToolCallStatus.ERROR, "failed": ToolCallStatus.ERROR,
    "failure": ToolCallStatus.ERROR,
}  # fmt: skip


class ToolCalls:
    """Records tool calls; each one and each end is an event of its session."""

    def __init__(self, store: ToolCallStore, messages: HasMessages, hub: SessionHub) -> None:
        self._store = store
        self._messages = messages
        self._hub = hub
        self._streamed: OrderedDict[tuple[int, str], int] = OrderedDict()

    async def record(self, caller: Caller, body: ToolCallBody) -> ToolCallView:
        """Keep a call, or the end of a pending one.

        Raises OperatorError: validation_error, message_not_found, tool_call_not_found, and
        conflict for a call that has ended already.
        """
        check_tool_call(body)
        fields: dict[str, Any] = {
            "viewer": caller.user_id,
            "status": body.status or "pending",
            "duration_ms": None if body.duration_ms is None else round(body.duration_ms),
            "arguments": body.arguments,
            "result": body.result,
            "error": body.error,
        }
        if body.tool_call_id is not None:
            return tool_call_view(await self._finish(caller, body, fields))
        message_id, name = body.message_id, body.tool_name
        assert message_id is not None, "checked above"
        assert name is not None, "checked above"
        written = await self._written(
            self._store.record(message_id=message_id, tool_name=name, **fields)
        )
        if written is None:
            raise OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")
        return tool_call_view(written)

    async def _finish(
        self, caller: Caller, body: ToolCallBody, fields: dict[str, Any]
    ) -> WrittenToolCall:
        call_id = body.tool_call_id
        assert call_id is not None
        written = await self._written(
            self._store.finish(tool_call_id=call_id, message_id=body.message_id, **fields)
        )
        if written is not None:
            return written
        known = await self._store.get(call_id, caller.user_id)
        if known is None or body.message_id not in (None, known.message_id):
            raise OperatorError(ErrorCode.TOOL_CALL_NOT_FOUND, "there is no such tool call")
        raise OperatorError(ErrorCode.CONFLICT, f"this tool call has ended: it is {known.status}")

    async def _written(self, write: Any) -> WrittenToolCall | None:
        """What a write stored, shown to those who watch."""
        try:
            written: WrittenToolCall | None = await write
        except ConstraintViolation as violation:
            if violation.kind != "foreign_key":
                raise
            return None  # the message was deleted in this very moment
        if written is not None:
            self._hub.publish_record(written.session_id, RECORDED, written)
        return written

    async def of_message(
        self, caller: Caller, message_id: int, *, limit: int, cursor: str | None
    ) -> ToolCallList:
        """A page of a message's tool calls; raises OperatorError(message_not_found)."""
        after = after_id(cursor, 0)
        if await self._messages.get(message_id, caller.user_id) is None:
            raise OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")
        rows = await self._store.page(message_id, after=after, limit=limit + 1)
        more = len(rows) > limit
        rows = rows[:limit]
        return ToolCallList(
            tool_calls=[tool_call_view(row) for row in rows],
            next_cursor=str(rows[-1].id) if more else None,
        )

    async def record_streamed(self, session_id: str, reply_id: int, call: ToolCallPart) -> None:
        """Keep a call that Switch streams with a reply; a later one with its id is its end.

        It is no reason for the reply to fail: what can't be stored is logged.
        """
        fields = _fields(call)
        key = (reply_id, call.id) if call.id is not None else None
        known = self._streamed.pop(key, None) if key is not None else None
        if known is not None and fields["status"] != ToolCallStatus.PENDING:
            written = await self._stored(
                reply_id, call, lambda: self._store.finish(
                    tool_call_id=known, message_id=reply_id, viewer=None, **fields
                )
            )  # fmt: skip
            if written is not None:
                return
        written = await self._stored(
            reply_id, call, lambda: self._store.record(
                message_id=reply_id, viewer=None, tool_name=call.name[:MAX_NAME], **fields
            )
        )  # fmt: skip
        if written is not None and key is not None and written.status == ToolCallStatus.PENDING:
            self._streamed[key] = written.id
            if len(self._streamed) > REMEMBERED:
                self._streamed.popitem(last=False)

    async def _stored(
        self, reply_id: int, call: ToolCallPart, write: Any
    ) -> WrittenToolCall | None:
        pause = PAUSE
        for attempt in range(ATTEMPTS):
            try:
                return await self._written(write())
            except OperatorError as error:
                log.warning("a tool call could not be stored", error=str(error.code))
                if attempt + 1 == ATTEMPTS:
                    break
            await asyncio.sleep(pause)
            pause *= 2
        log.error("a tool call of a reply was lost", reply_id=reply_id, tool=call.name[:MAX_NAME])
        return None


def _fields(call: ToolCallPart) -> dict[str, Any]:
    """What Switch says of a call, as columns."""
    raw = call.raw
    result = next((raw[name] for name in ("result", "output") if raw.get(name) is not None), None)
    said = raw.get("error")
    error = said if isinstance(said, str) else None if said is None else _text(said)
    status = raw.get("status")
    known = _STATUSES.get(status.lower()) if isinstance(status, str) else None
    if known is None:
        known = (
            ToolCallStatus.ERROR if error
            else ToolCallStatus.PENDING if result is None
            else ToolCallStatus.OK
        )  # fmt: skip
    times = (milliseconds_or_none(raw.get(name)) for name in ("duration_ms", "latency_ms"))
    took = next((time for time in times if time is not None), None)
    arguments, fault = _bounded("arguments", call.arguments)
    result, other = _bounded("result", result)
    notes = [note for note in (text_or_none(error), fault, other) if note]
    return {
        "status": str(known),
        "duration_ms": None if took is None else round(took),
        "arguments": arguments,
        "result": result,
        "error": "; ".join(notes)[:MAX_ERROR] or None,
    }


def _bounded(name: str, value: Json) -> tuple[Json, str]:
    """``value``, or None and a note where it is too large to be kept."""
    try:
        size = len(msgspec.json.encode(value))
    except RecursionError:
        return None, f"the {name} are nested too deeply and were left out"
    if size <= MAX_VALUE_BYTES:
        return value, ""
    return None, f"the {name} had {size} bytes, more than {MAX_VALUE_BYTES}, and were left out"


def _text(value: Json) -> str:
    return msgspec.json.encode(value).decode()
