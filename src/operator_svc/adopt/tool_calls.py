"""Legacy tool calls; a message that one names and that is missing is made."""

from __future__ import annotations

import datetime as dt
from typing import Any

from operator_svc.adopt.legacy_rows import TOOL_CALL, reference
from operator_svc.adopt.messages import messages_for
from operator_svc.adopt.run import Run
from operator_svc.adopt.values import Fixes, count, moment, parsed, text
from operator_svc.models import ToolCallStatus

STATUSES = {str(status): status for status in ToolCallStatus} | {
    "completed": ToolCallStatus.OK,
    "done": ToolCallStatus.OK,
    "success": ToolCallStatus.OK,
    "failed": ToolCallStatus.ERROR,
    "failure": ToolCallStatus.ERROR,
    "timeout": ToolCallStatus.ERROR,
    "running": ToolCallStatus.PENDING,
}
NO_MESSAGE = ""
"""The message of tool calls that name none."""


async def adopt_tool_calls(run: Run) -> None:
    """Bring all tool calls in; a message that is missing is made."""
    fixes = Fixes()
    for batch in run.batches(TOOL_CALL):
        fresh = await run.fresh(TOOL_CALL, batch, 3)
        refs = [NO_MESSAGE if row[1] is None else reference(row[1]) for _, row, _ in fresh]
        met = run.id_map.messages(refs)
        home = run.name_of(None)
        wanted = {
            ref: (home, None, at)
            for ref, (_, _, at) in reversed(list(zip(refs, fresh, strict=True)))
        }
        messages = await messages_for(run, wanted)
        rows, asked, mended, became = [], [], [], []
        for (key, row, at), ref in zip(fresh, refs, strict=True):
            if (message_id := messages[ref]) is None:
                run.report.skipped(TOOL_CALL, "its message was deleted since")
                continue
            if ref not in met:
                fixes.note("its message was missing")
            rows.append(_tool_call(row, message_id, at, fixes))
            asked.append((row[0], None))
            mended.append(fixes.take())
            became.append(key)
        for i, (number, kept) in enumerate(await run.assign_ids(TOOL_CALL, asked)):
            rows[i]["id"] = number
            run.report.written(TOOL_CALL, mended[i] | (set() if kept else {"its id was taken"}))
        await run.store.insert(TOOL_CALL, rows)
        noted = {key: str(row["id"]) for key, row in zip(became, rows, strict=True)}
        await run.store.note(run.source, TOOL_CALL, noted)


def _tool_call(
    legacy: tuple[Any, ...], message_id: int, at: dt.datetime, fixes: Fixes
) -> dict[str, Any]:
    _, _, name, created, raw_status, duration, raw_result, raw_error = legacy
    if moment(created, fixes, "created_at") is None:
        fixes.note("created_at was missing")
    tool_name = text(name, fixes, "tool_name")
    if not tool_name:
        fixes.note("tool_name was missing")
    result = parsed(raw_result, fixes, "result").plain
    error = text(raw_error, fixes, "error")
    status = STATUSES.get((text(raw_status, Fixes(), "") or "").strip().lower())
    if status is None:
        fixes.note("its status was unknown")
        status = ToolCallStatus.ERROR if error else ToolCallStatus.PENDING
        if not error and result is not None:
            status = ToolCallStatus.OK
    return {
        "id": 0,
        "message_id": message_id,
        "tool_name": tool_name or "unknown",
        "status": str(status),
        "duration_ms": count(duration, fixes, "duration_ms"),
        "result": result,
        "error": error,
        "created_at": at,
        "finished_at": None if status is ToolCallStatus.PENDING else at,
    }
