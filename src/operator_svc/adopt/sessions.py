"""Legacy sessions: ids that break our rule are replaced, duplicates become one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from operator_svc.adopt.legacy_rows import SESSION, row_key
from operator_svc.adopt.run import Run, SessionRequest
from operator_svc.adopt.values import Fixes, moment, short, text
from operator_svc.models import DEFAULT_USER, Json
from operator_svc.protocol.text import storable

MAX_USER = 128
"""Characters of a user id (the API's own limit)."""

LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)
"""The update of a known session that says nothing of it: it must not move what is there."""


class _Group:
    """The rows of a batch that name one session; ``request`` is made of the earliest."""

    def __init__(self, request: SessionRequest, fixes: set[str]) -> None:
        self.request = request
        self.fixes = fixes
        self.rows = 1
        self.skipped = 0

    def add(self, request: SessionRequest, fixes: set[str]) -> None:
        """One more row: the earliest wins, with the latest update."""
        self.rows += 1
        earliest = self.request
        if request.created_at < earliest.created_at:
            earliest, self.fixes = request, fixes
        self.request = msgspec.structs.replace(
            earliest,
            updated_at=max(request.updated_at, self.request.updated_at),
            known=self.request.known or request.known,
        )


async def adopt_sessions(run: Run) -> None:
    """Bring all sessions in."""
    fixes = Fixes()
    # Rows of one session come together, the earliest first.
    for batch in run.batches(SESSION, ("session_id", "created_at", "id")):
        keys = [row_key(SESSION, row) for row in batch]
        known = await run.known(SESSION, keys)
        groups: dict[str, _Group] = {}
        for key, row in zip(keys, batch, strict=True):
            request = _request(run, row, fixes, known.get(key))
            group = groups.get(request.name)
            if group is None:
                group = groups[request.name] = _Group(request, fixes.take())
            else:
                group.add(request, fixes.take())
            group.skipped += key in known
        await _place(run, groups)
        became = {
            key: mapped.target
            for key, row in zip(keys, batch, strict=True)
            if key not in known and (mapped := run.id_map.session(run.name_of(row[1])))
        }
        await run.store.note(run.source, SESSION, became)


async def _place(run: Run, groups: dict[str, _Group]) -> None:
    again = [group for name, group in groups.items() if run.id_map.session(name)]
    for group in again:
        # More rows of a session than a batch holds.
        request = groups.pop(group.request.name).request
        mapped = run.id_map.session(request.name)
        assert mapped is not None
        join = (
            mapped.target,
            request.source,
            request.created_at,
            request.updated_at,
            not request.known,
        )
        run.id_map.add_joins([join])
        _count(run, group, "joined")
    fresh = list(groups.values())
    for group, outcome in zip(fresh, await run.place([g.request for g in fresh]), strict=True):
        _count(run, group, outcome)


def _count(run: Run, group: _Group, outcome: str) -> None:
    for _ in range(group.skipped):
        run.report.skipped(SESSION, "adopted before")
    joined = group.rows - group.skipped
    if outcome == "new":
        run.report.written(SESSION, group.fixes)
        joined -= 1
    elif outcome == "joined":
        run.report.joined(SESSION, "a session of this user has its id")
        joined -= 1
    for _ in range(joined):
        run.report.joined(SESSION, "its id stands more than once")


def _request(run: Run, row: tuple[Any, ...], fixes: Fixes, known: str | None) -> SessionRequest:
    old_id, raw, user, source, created, updated = row
    name = run.name_of(raw)
    metadata: dict[str, Json] = {}
    if raw is None or name != raw:
        fixes.note("its session id broke the rule")
        said = text(raw, Fixes(), "") or ""
        metadata["adopted_session_id"] = storable(said)
    created_at = moment(created, fixes, "created_at")
    updated_at = moment(updated, fixes, "updated_at")
    if created_at is None:
        fixes.note("created_at was missing")
        created_at = updated_at or (LONG_AGO if known else run.now)
    return SessionRequest(
        name=name,
        user_id=_user(user, fixes, metadata),
        source=text(source, fixes, "source") or _default("source", "api", fixes),
        created_at=created_at,
        updated_at=updated_at or created_at,
        old_id=old_id,
        metadata=metadata,
        known=known,
    )


def _user(raw: Any, fixes: Fixes, metadata: dict[str, Json]) -> str:
    user = short(raw, fixes, "user_id", MAX_USER)
    if not user:
        return _default("user_id", DEFAULT_USER, fixes)
    if user != raw:
        metadata["adopted_user_id"] = text(raw, Fixes(), "")
    return user


def _default(what: str, value: str, fixes: Fixes) -> str:
    fixes.note(f"{what} was missing")
    return value
