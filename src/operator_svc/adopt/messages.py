"""Legacy messages, and the ones that are made where tool calls and changes name a missing one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from operator_svc.adopt.id_map import MappedSession
from operator_svc.adopt.legacy_rows import MESSAGE, missing_row_key, reference, row_key
from operator_svc.adopt.run import Run, json_text
from operator_svc.adopt.values import Fixes, moment, object_of, parsed, text
from operator_svc.models import Json, ReplyStatus, Role
from operator_svc.protocol.engine_fields import ENGINE_FIELDS

ROLES = {str(role): role for role in Role} | {
    "human": Role.USER,
    "ai": Role.ASSISTANT,
    "assistent": Role.ASSISTANT,
    "bot": Role.ASSISTANT,
    "model": Role.ASSISTANT,
    "operator": Role.ASSISTANT,
    "developer": Role.SYSTEM,
    "function": Role.TOOL,
}
"""New roles by legacy ones. A role that is not among them becomes user, which commands nothing."""


class _Batch:
    """Rows of a batch, gathered before they are written."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.asked: list[tuple[Any, MappedSession | None]] = []
        self.fixes: list[set[str]] = []
        self.became: list[tuple[int | str, int | None]] = []


async def adopt_messages(run: Run) -> None:
    """Bring all messages in, each into its session; one that is missing is made."""
    fixes = Fixes()
    for rows in run.batches(MESSAGE):
        keys = [row_key(MESSAGE, row) for row in rows]
        known = await run.known(MESSAGE, keys)
        here = await run.store.taken(MESSAGE, {int(new_id) for new_id in known.values()})
        names = [run.name_of(row[1]) for row in rows]
        times = run.times(MESSAGE, rows, 4)
        firsts: dict[str, tuple[Any, dt.datetime]] = {}
        for key, name, row, at in zip(keys, names, rows, times, strict=True):
            if name not in firsts and key not in known:
                firsts[name] = row[1], at
        mapped_sessions = await run.sessions_for(firsts)
        batch = _Batch()
        met: set[str] = set()
        for key, name, row, at in zip(keys, names, rows, times, strict=True):
            if key in known or key in met:
                run.report.skipped(MESSAGE, "adopted before")
                if key in known:
                    new_id = int(known[key])
                    batch.became.append((reference(row[0]), new_id if new_id in here else None))
                continue
            met.add(key)
            mapped = mapped_sessions[name]
            if mapped.gone:
                run.report.skipped(MESSAGE, "its session was deleted since")
                batch.became.append((reference(row[0]), None))
                continue
            batch.rows.append(_new(row, mapped, fixes, at))
            batch.keys.append(key)
            batch.asked.append((row[0], mapped))
            batch.fixes.append(fixes.take())
        await _write(run, batch)


def _new(
    legacy: tuple[Any, ...], mapped: MappedSession, fixes: Fixes, at: dt.datetime
) -> dict[str, Any]:
    _, session_id, raw_role, raw_content, created, raw_metadata = legacy
    lost: dict[str, Json] = {}
    role = ROLES.get(raw_role) if type(raw_role) is str else None
    if role is None:
        said = text(raw_role, Fixes(), "") or ""
        role = ROLES.get(said.strip().lower(), Role.USER)
        fixes.note("its role was unknown")
        lost["adopted_role"] = said
    content = text(raw_content, fixes, "content")
    if content is None:
        fixes.note("content was missing")
    if moment(created, fixes, "created_at") is None:
        fixes.note("created_at was missing")
        if created is not None:
            lost["adopted_created_at"] = text(created, Fixes(), "")
    if session_id is None:
        fixes.note("it named no session")
    elif mapped.made:
        fixes.note("its session was missing")
    read = parsed(raw_metadata, fixes, "message_metadata")
    if isinstance(read.value, dict) and ENGINE_FIELDS in read.value:
        fixes.note(f"message_metadata had {ENGINE_FIELDS}, a field of Operator's own")
        lost[f"adopted_{ENGINE_FIELDS}"] = read.value.pop(ENGINE_FIELDS)
    metadata = read.plain
    if lost or not isinstance(read.value, dict | None):
        if not read.broken and not isinstance(read.value, dict | None):
            fixes.note("message_metadata was no object")
        metadata = json_text((object_of(read, "adopted_metadata") or {}) | lost)
    return {
        "id": 0,
        "session_id": mapped.target,
        "role": str(role),
        "content": content or "",
        "status": str(ReplyStatus.COMPLETE),
        "metadata": metadata,
        "created_at": at,
        "finished_at": at,
    }


async def _write(run: Run, batch: _Batch) -> None:
    counts: dict[str, tuple[int, dt.datetime]] = {}
    became: dict[str, str] = {}
    numbers = await run.assign_ids(MESSAGE, batch.asked)
    for i, (number, kept) in enumerate(numbers):
        old_id, mapped = batch.asked[i]
        assert mapped is not None
        row, mended = batch.rows[i], batch.fixes[i]
        row["id"] = number
        if not kept:
            mended.add("its id was taken")
        run.report.written(MESSAGE, mended)
        became[batch.keys[i]] = str(number)
        batch.became.append((reference(old_id), number))
        _count(counts, mapped, row["created_at"])
    await run.store.insert(MESSAGE, batch.rows)
    await run.store.note(run.source, MESSAGE, became)
    run.id_map.add_messages(batch.became)
    run.id_map.add_counts(counts)


def _count(
    counts: dict[str, tuple[int, dt.datetime]], mapped: MappedSession, at: dt.datetime
) -> None:
    added, last = counts.get(mapped.name, (0, at))
    counts[mapped.name] = (added + 1, max(last, at))


async def messages_for(
    run: Run, wanted: Mapping[int | str, tuple[str, Any, dt.datetime]]
) -> dict[int | str, int | None]:
    """The new messages for legacy ones that rows name; None for those that are gone since.

    ``wanted`` has for each the name and the legacy id of the session in which it is made where it
    is missing, and when.
    """
    found = run.id_map.messages(wanted)
    lacking = [ref for ref in wanted if ref not in found]
    if not lacking:
        return found
    before = await run.store.known([run.source], MESSAGE, [missing_row_key(ref) for ref in lacking])
    here = await run.store.taken(MESSAGE, {int(new_id) for new_id in before.values()})
    for ref in lacking:
        if (new_id := before.get(missing_row_key(ref))) is not None:
            found[ref] = int(new_id) if int(new_id) in here else None
    await _make(run, {ref: wanted[ref] for ref in lacking if ref not in found}, found)
    run.id_map.add_messages([(ref, found[ref]) for ref in lacking], made=True)
    return found


async def _make(
    run: Run,
    wanted: Mapping[int | str, tuple[str, Any, dt.datetime]],
    found: dict[int | str, int | None],
) -> None:
    mapped_sessions = await run.sessions_for({name: (raw, at) for name, raw, at in wanted.values()})
    asked, rows = [], []
    counts: dict[str, tuple[int, dt.datetime]] = {}
    for ref, (name, _, at) in wanted.items():
        mapped = mapped_sessions[name]
        if mapped.gone:
            found[ref] = None
            continue
        asked.append((ref, mapped))
        _count(counts, mapped, at)
        rows.append(
            {
                "id": 0,
                "session_id": mapped.target,
                "role": str(Role.TOOL),
                "content": "",
                "status": str(ReplyStatus.COMPLETE),
                "metadata": json_text({"adopted": True}),
                "created_at": at,
                "finished_at": at,
            }
        )
    for (number, _), (ref, _), row in zip(
        await run.assign_ids(MESSAGE, asked), asked, rows, strict=True
    ):
        row["id"] = found[ref] = number
        run.report.made(MESSAGE, "rows named a message that was not there")
    await run.store.insert(MESSAGE, rows)
    await run.store.note(
        run.source, MESSAGE, {missing_row_key(ref): str(found[ref]) for ref, _ in asked}
    )
    run.id_map.add_counts(counts)
