"""Legacy browser tasks. What was not done when VX11 stopped will not be: it is failed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from operator_svc.adopt.id_map import MappedSession
from operator_svc.adopt.legacy_rows import TASK
from operator_svc.adopt.run import FreshRow, Run
from operator_svc.adopt.values import MAX_COUNT, Fixes, mark, moment, parsed, text
from operator_svc.models import DEFAULT_USER, Json, TaskStatus
from operator_svc.protocol import ids
from operator_svc.protocol.browser import SNIPPET_CHARS

UNFINISHED = "adopted"
"""The error of a task that waited or ran in the legacy backend."""

STATUSES = {str(status): status for status in TaskStatus} | {
    "done": TaskStatus.COMPLETED,
    "ok": TaskStatus.COMPLETED,
    "success": TaskStatus.COMPLETED,
    "error": TaskStatus.FAILED,
    "canceled": TaskStatus.CANCELLED,
}
_OPEN = (TaskStatus.PENDING, TaskStatus.RUNNING)
_TEXTS = ("status", "title", "text_snippet", "text", "final_url")
_LISTS = ("links", "console")


async def adopt_tasks(run: Run) -> None:
    """Bring all browser tasks in."""
    fixes = Fixes()
    for batch in run.batches(TASK):
        fresh = _with_url(run, await run.fresh(TASK, batch, 3, 8, 9))
        wanted = {
            run.name_of(row[1]): (row[1], at)
            for _, row, at in reversed(fresh)
            if row[1] is not None
        }
        mapped_sessions = await run.sessions_for(wanted)
        taken = await run.store.taken_task_ids([str(row[0]) for _, row, _ in fresh])
        rows: list[dict[str, Any]] = []
        asked, became, mended = [], [], []
        for key, row, at in fresh:
            mapped = None if row[1] is None else mapped_sessions[run.name_of(row[1])]
            if mapped is not None and mapped.gone:
                run.report.skipped(TASK, "its session was deleted since")
                continue
            new = _new(run, row, mapped, fixes, at)
            new["task_id"] = _task_id(row[0], key, taken, fixes)
            taken.add(new["task_id"])
            rows.append(new)
            asked.append((row[0], None))
            became.append(key)
            mended.append(fixes.take())
        for i, (number, _) in enumerate(await run.assign_ids(TASK, asked)):
            rows[i]["id"] = number
            run.report.written(TASK, mended[i])
        await run.store.insert(TASK, rows)
        await run.store.note(
            run.source, TASK, {key: row["task_id"] for key, row in zip(became, rows, strict=True)}
        )


def _with_url(run: Run, fresh: list[FreshRow]) -> list[FreshRow]:
    """The rows that have an address. Nothing is made for the others, which are refused."""
    kept = [each for each in fresh if text(each.row[2], Fixes(), "url")]
    for _ in range(len(fresh) - len(kept)):
        run.report.refused(TASK, "it has no url")
    return kept


def _task_id(old_id: Any, key: str, taken: set[str], fixes: Fixes) -> str:
    plain = old_id if isinstance(old_id, str) else str(old_id)
    if ids.is_task_id(plain) and plain not in taken:
        return plain
    fixes.note("its id was taken" if plain in taken else "its id broke the rule")
    clean = ids.plain_name(plain)[:100].strip("-")
    return f"{clean or 'task'}-{mark(key)}"


def _new(
    run: Run, legacy: tuple[Any, ...], mapped: MappedSession | None, fixes: Fixes, at: dt.datetime
) -> dict[str, Any]:
    (_, _, url, created, raw_status, result, error, error_message, executed, completed,
     *found) = legacy  # fmt: skip
    if mapped is not None and mapped.made:
        fixes.note("its session was missing")
    created_at = moment(created, fixes, "created_at")
    executed_at = moment(executed, fixes, "executed_at")
    completed_at = moment(completed, fixes, "completed_at") or executed_at
    if created_at is None:
        fixes.note("created_at was missing")
        created_at = at
    status, said = _status(raw_status, fixes)
    why = text(error, fixes, "error") or text(error_message, fixes, "error_message")
    if status in _OPEN:
        fixes.note("it was not done")
        status, why, completed_at = TaskStatus.FAILED, UNFINISHED, run.now
    elif status is TaskStatus.FAILED and not why and said:
        why = f"its old status was {said}"
    return {
        "id": 0,
        "session_id": mapped.target if mapped else None,
        "user_id": mapped.user_id if mapped else DEFAULT_USER,
        "url": text(url, fixes, "url"),
        "status": str(status),
        "options": "{}",
        "not_before": created_at,
        "result": _result(result, found, fixes),
        "error": why,
        "created_at": created_at,
        "started_at": executed_at,
        "completed_at": completed_at or created_at,
    }


def _status(raw: Any, fixes: Fixes) -> tuple[TaskStatus, str]:
    """The new status, and the legacy one where it is unknown."""
    said = (text(raw, Fixes(), "") or "").strip()
    status = STATUSES.get(said.lower())
    if status is not None:
        return status, ""
    fixes.note("its status was unknown")
    return TaskStatus.FAILED, said or "missing"


def _result(raw: Any, found: list[Any], fixes: Fixes) -> str | None:
    """The page's result, with what other columns had of it. Fields that clients and lists read
    have the type that they expect, or stand under ``adopted_<name>``."""
    snapshot, screenshot, snippet = (
        text(value, fixes, name)
        for value, name in zip(
            found, ("snapshot_path", "screenshot_path", "text_snippet"), strict=True
        )
    )
    read = parsed(raw, fixes, "result")
    result: dict[str, Json] = {}
    if isinstance(read.value, dict):
        for name, value in read.value.items():
            if _fits(name, value):
                result[name] = value
            else:
                fixes.note(f"{name} in its result had another type")
                result[f"adopted_{name}"] = value
    elif read.plain is not None:
        result["text" if isinstance(read.value, str) else "adopted_result"] = read.value
    if snippet:
        result.setdefault("text_snippet", snippet)
    if result.get("text"):
        result.setdefault("text_snippet", result["text"][:SNIPPET_CHARS])
    if path := snapshot or screenshot:
        result.setdefault("adopted_snapshot_path", path)
    if result == read.value:
        return read.plain
    return msgspec.json.encode(result).decode() if result else None


def _fits(name: str, value: Json) -> bool:
    if value is None:
        return True
    if name == "http_status":
        return type(value) is int and abs(value) <= MAX_COUNT
    if name in _TEXTS:
        return isinstance(value, str)
    return isinstance(value, list) if name in _LISTS else True
