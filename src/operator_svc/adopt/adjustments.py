"""Legacy adjustments of Switch, some of which are feedback."""

from __future__ import annotations

from typing import Any

import msgspec

from operator_svc.adopt.legacy_rows import ADJUSTMENT, FEEDBACK, reference
from operator_svc.adopt.run import FreshRow, Run
from operator_svc.adopt.values import (
    Fixes,
    count,
    flag,
    moment,
    object_of,
    parsed,
    short,
    text,
)

MAX_ENGINE = 200
"""Characters of an engine's name (the API's own limit)."""


async def adopt_adjustments(run: Run) -> None:
    """Bring all adjustments in. A row that names an engine is feedback (too)."""
    fixes = Fixes()
    for batch in run.batches(ADJUSTMENT):
        fresh = await run.fresh(ADJUSTMENT, batch, 7, 9, 14)
        await _AdjustmentBatch(run, fixes).write(_with_content(run, fresh))


def _with_content(run: Run, fresh: list[FreshRow]) -> list[FreshRow]:
    """The rows that say something. Nothing is made for the others, which are refused."""
    kept = [each for each in fresh if _has_change(each.row) or text(each.row[6], Fixes(), "")]
    for _ in range(len(fresh) - len(kept)):
        run.report.refused(ADJUSTMENT, "it has neither a change nor an engine")
    return kept


def _has_change(row: tuple[Any, ...]) -> bool:
    return any(value is not None for value in row[3:6])


class _AdjustmentBatch:
    """Changes and feedback of one batch."""

    def __init__(self, run: Run, fixes: Fixes) -> None:
        self._run = run
        self._fixes = fixes
        self._changes: list[tuple[str, Any, dict[str, Any]]] = []
        self._feedback: list[tuple[str, dict[str, Any]]] = []

    async def write(self, fresh: list[FreshRow]) -> None:
        """Sort the rows out and store them."""
        run = self._run
        names = {key: run.name_of(row[1]) for key, row, _ in fresh if row[1] is not None}
        first = {names[k]: (r[1], at) for k, r, at in reversed(fresh) if r[1] is not None}
        mapped_sessions = await run.sessions_for(first)
        # One that was made for a tool call lies in another session, and is not the lost one.
        messages = run.id_map.messages(
            [reference(row[2]) for _, row, _ in fresh if row[2] is not None], made=False
        )
        for key, row, at in fresh:
            mapped = mapped_sessions[names[key]] if key in names else None
            if mapped is not None and mapped.gone:
                run.report.skipped(ADJUSTMENT, "its session was deleted since")
                continue
            ref = None if row[2] is None else reference(row[2])
            lost = ref is not None and ref not in messages
            if ref is not None and not lost and messages[ref] is None:
                run.report.skipped(ADJUSTMENT, "its message was deleted since")
                continue
            if mapped is not None and mapped.made:
                self._fixes.note("its session was missing")
            if lost:
                self._fixes.note("its message was missing")
            common = {
                "id": 0,
                "session_id": mapped.target if mapped else None,
                "message_id": None if ref is None else messages.get(ref),
                "created_at": at,
            }
            self._sort(key, row, common, ref if lost else None)
        await self._store()

    def _sort(
        self, key: str, row: tuple[Any, ...], common: dict[str, Any], lost: int | str | None
    ) -> None:
        """``lost`` is the legacy id of a message that is missing."""
        has_change = _has_change(row)
        engine_name = short(row[6], self._fixes, "engine_used", MAX_ENGINE)
        if moment(row[7], self._fixes, "created_at") is None:
            self._fixes.note("created_at was missing")
        if engine_name:
            if not has_change:
                self._fixes.note(f"it is feedback and went to {FEEDBACK}")
            self._feedback.append((key, self._new_feedback(row, engine_name, common)))
        if has_change:
            self._changes.append((key, row[0], self._new_change(row, common, lost)))
        self._run.report.written(ADJUSTMENT, self._fixes.take())

    def _new_change(
        self, row: tuple[Any, ...], common: dict[str, Any], lost: int | str | None
    ) -> dict[str, Any]:
        fixes = self._fixes
        reason = text(row[5], fixes, "reason")
        if reason is None:
            fixes.note("reason was missing")
        return common | {
            "before_config": _config(row[3], fixes, "before_config"),
            "after_config": _config(row[4], fixes, "after_config", lost),
            "reason": reason or "",
            "applied": bool(flag(row[8], fixes, "applied")),
            "applied_at": moment(row[9], fixes, "applied_at"),
        }

    def _new_feedback(
        self, row: tuple[Any, ...], engine: str, common: dict[str, Any]
    ) -> dict[str, Any]:
        fixes = self._fixes
        error = text(row[13], fixes, "error_message")
        success = flag(row[10], fixes, "success")
        created_at = moment(row[14], fixes, "feedback_timestamp") or common["created_at"]
        return common | {
            "engine": engine,
            "success": error is None if success is None else success,
            "latency_ms": count(row[11], fixes, "latency_ms"),
            "tokens_used": count(row[12], fixes, "tokens_used") or 0,
            "error_message": error,
            "created_at": created_at,
            "not_before": created_at,
            # It is history: Switch is not told of it anew.
            "given_up_at": self._run.now,
            "posted": False,
        }

    async def _store(self) -> None:
        run, became = self._run, {}
        for (key, row), number in zip(
            self._feedback,
            await run.store.new_ids(FEEDBACK, len(self._feedback)),
            strict=True,
        ):
            row["id"] = number
            became[key] = f"feedback:{number}"
        asked = [(old_id, None) for _, old_id, _ in self._changes]
        numbers = await run.assign_ids(ADJUSTMENT, asked)
        for (key, _, row), (number, _) in zip(self._changes, numbers, strict=True):
            row["id"] = number
            became[key] = str(number)
        await run.store.insert(FEEDBACK, [row for _, row in self._feedback])
        await run.store.insert(ADJUSTMENT, [row for _, _, row in self._changes])
        await run.store.note(run.source, ADJUSTMENT, became)


def _config(raw: Any, fixes: Fixes, what: str, lost: int | str | None = None) -> str:
    """A configuration is an object; a value that is none stands in it as ``adopted_config``, and
    so does the legacy id of a message that is ``lost``."""
    read = parsed(raw, fixes, what)
    if read.plain is None:
        fixes.note(f"{what} was missing")
    elif isinstance(read.value, dict) and lost is None:
        return read.plain
    config = object_of(read, "adopted_config") or {}
    if lost is not None:
        kept = {"value": config["adopted_config"]} if "adopted_config" in config else {}
        config = config | {"adopted_config": kept | {"message_id": lost}}
    return msgspec.json.encode(config).decode()
