"""Records tool calls: those that clients post, and those that Switch streams with a reply."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Caller, Json, ToolCall, ToolCallStatus
from operator_svc.peers.chat_types import ToolCallPart, milliseconds_or_none, text_or_none
from operator_svc.protocol import events
from operator_svc.protocol.tool_calls import (
    MAX_VALUE_BYTES,
    ToolCallBody,
    ToolCallList,
    ToolCallView,
    check_tool_call,
)
from operator_svc.services.access import HasMessages
from operator_svc.services.chat.history import tool_call_view
from operator_svc.services.chat.running_replies import RunningReply
from operator_svc.services.live.hub import SessionHub
from operator_svc.services.pagination import id_cursor, parse_id_cursor
from operator_svc.services.retry import until_stored
from operator_svc.stores.tool_calls import ToolCallState, ToolCallStore, WrittenToolCall

log = structlog.get_logger(__name__)

STORE_PATIENCE = 1.0
"""Seconds for which it is tried to store a streamed call: its reply waits meanwhile."""
REMEMBERED = 10_000
"""Streamed calls that wait for their result; the oldest are forgotten first."""
NO_ROOM = "its values were left out: the tool calls of this reply have more than 1 MiB"
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
        """Store a call, or the end of a pending one.

        Raises OperatorError: validation_error, message_not_found, tool_call_not_found, and
        conflict for a call that has ended already.
        """
        check_tool_call(body)
        state = ToolCallState(
            status=body.status or "pending",
            duration_ms=None if body.duration_ms is None else round(body.duration_ms),
            arguments=body.arguments,
            result=body.result,
            error=body.error,
        )
        if body.tool_call_id is not None:
            return tool_call_view(await self._finish(caller, body, state))
        assert body.message_id is not None, "checked above"
        assert body.tool_name is not None, "checked above"
        written = await self._store.record(
            message_id=body.message_id,
            viewer=caller.user_id,
            tool_name=body.tool_name,
            state=state,
        )
        if written is None:
            raise OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")
        return tool_call_view(self._publish(written))

    async def _finish(self, caller: Caller, body: ToolCallBody, state: ToolCallState) -> ToolCall:
        known = await self._find(caller, body)
        if known.status == ToolCallStatus.PENDING:
            written = await self._store.finish(known, state)
            if written is not None:
                return self._publish(written)
            known = await self._find(caller, body)  # it ended, or was deleted, in this moment
        raise OperatorError(ErrorCode.CONFLICT, f"this tool call has ended: it is {known.status}")

    async def _find(self, caller: Caller, body: ToolCallBody) -> ToolCall:
        assert body.tool_call_id is not None
        known = await self._store.get(body.tool_call_id, caller.user_id)
        if known is None or body.message_id not in (None, known.message_id):
            raise OperatorError(ErrorCode.TOOL_CALL_NOT_FOUND, "there is no such tool call")
        return known

    def _publish(self, written: WrittenToolCall) -> ToolCall:
        event = written.event
        self._hub.publish_record(event.session_id, events.TOOL_CALL_RECORDED, event)
        return written.row

    async def get(self, caller: Caller, tool_call_id: int) -> ToolCallView:
        """A tool call; raises OperatorError(tool_call_not_found)."""
        known = await self._store.get(tool_call_id, caller.user_id)
        if known is None:
            raise OperatorError(ErrorCode.TOOL_CALL_NOT_FOUND, "there is no such tool call")
        return tool_call_view(known)

    async def of_message(
        self, caller: Caller, message_id: int, *, limit: int, cursor: str | None
    ) -> ToolCallList:
        """A page of a message's tool calls; raises OperatorError(message_not_found)."""
        after = parse_id_cursor(cursor, 0)
        if await self._messages.get(message_id, caller.user_id) is None:
            raise OperatorError(ErrorCode.MESSAGE_NOT_FOUND, "there is no such message")
        page = await self._store.page(message_id, after=after, limit=limit)
        return ToolCallList(
            tool_calls=[tool_call_view(row) for row in page.rows],
            next_cursor=id_cursor(page.last.id) if page.last else None,
        )

    async def record_streamed(self, running: RunningReply, call: ToolCallPart) -> None:
        """Store a call that Switch streams with a reply; a later one with its id is its end.

        It is no reason for the reply to fail: a call that cannot be stored is logged, one for
        which the reply has no room left is passed over, and an end is kept without its values.
        """
        state, name, reply_id = _state(call), call.name[:MAX_NAME], running.reply_id
        key = (reply_id, call.id) if call.id is not None else None
        known = self._streamed.pop(key, None) if key is not None else None
        ends = known is not None and state.status != ToolCallStatus.PENDING
        if not running.tool_calls.take(_size(name, state), new=not ends):
            if not ends:
                return
            state = ToolCallState(status=state.status, duration_ms=state.duration_ms, error=NO_ROOM)

        async def write() -> WrittenToolCall | None:
            if known is not None and ends:
                pending = await self._store.get(known)
                if pending is not None and pending.status == ToolCallStatus.PENDING:
                    ended = await self._store.finish(pending, state)
                    if ended is not None:
                        return ended
            return await self._store.record(
                message_id=reply_id, viewer=None, tool_name=name, state=state
            )

        written = await self._until_stored(reply_id, call, write)
        if written is None:
            return
        row = self._publish(written)
        if key is not None and row.status == ToolCallStatus.PENDING:
            self._streamed[key] = row.id
            if len(self._streamed) > REMEMBERED:
                self._streamed.popitem(last=False)

    async def _until_stored(
        self,
        reply_id: int,
        call: ToolCallPart,
        write: Callable[[], Awaitable[WrittenToolCall | None]],
    ) -> WrittenToolCall | None:
        try:
            return await until_stored(write, "a reply's tool call", within=STORE_PATIENCE)
        except OperatorError as error:
            log.error(
                "tool call lost",
                reply_id=reply_id,
                tool=call.name[:MAX_NAME],
                error=str(error.code),
            )
            return None


def _state(call: ToolCallPart) -> ToolCallState:
    """A streamed call, as it is stored."""
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
    broken = "the arguments are not JSON" if call.broken_arguments else ""
    notes = [note for note in (text_or_none(error), broken, fault, other) if note]
    return ToolCallState(
        status=str(known),
        duration_ms=None if took is None else round(took),
        arguments=arguments,
        result=result,
        error="; ".join(notes)[:MAX_ERROR] or None,
    )


def _size(name: str, state: ToolCallState) -> int:
    """The bytes of a call as it is stored."""
    values = (state.arguments, state.result, state.error)
    return len(name.encode()) + sum(len(msgspec.json.encode(v)) for v in values if v is not None)


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
