"""State shared by the steps of adopting a legacy database: owners of rows, and their new ids."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from operator_svc.adopt.id_map import IdMap, MappedSession
from operator_svc.adopt.legacy_file import TABLES, LegacyDatabase
from operator_svc.adopt.legacy_rows import READ, SESSION, is_keepable, missing_row_key, row_key
from operator_svc.adopt.report import Counts, Report
from operator_svc.adopt.target import AdoptionStore
from operator_svc.adopt.values import Fixes, mark, moment
from operator_svc.models import DEFAULT_USER, Json
from operator_svc.protocol import ids
from operator_svc.protocol.text import storable

MADE_SOURCE = "adopted"

_PROBES = 200

Progress = Callable[[str, int, int], None]
"""Called with a table, the rows of it that are done, and all of its rows."""


class FreshRow(NamedTuple):
    """A legacy row that was not adopted before: its key, its columns and its time."""

    key: str
    row: tuple[Any, ...]
    at: dt.datetime


class SessionRequest(msgspec.Struct, frozen=True):
    """A session that is to be there. ``known`` is what it became when it was adopted before."""

    name: str
    user_id: str
    source: str
    created_at: dt.datetime
    updated_at: dt.datetime
    old_id: Any = None
    metadata: dict[str, Json] = {}
    made: bool = False
    known: str | None = None


class Run:
    """One adoption."""

    def __init__(
        self, legacy: LegacyDatabase, store: AdoptionStore, id_map: IdMap, progress: Progress
    ) -> None:
        self.legacy = legacy
        self.store = store
        self.id_map = id_map
        self.now = dt.datetime.now(dt.UTC)
        self.report = Report({table: Counts() for table in TABLES})
        self.source = ""
        self.sources: list[str] = []
        self._progress = progress
        self._last: dict[str, dt.datetime] = {}

    async def identify(self) -> None:
        """Find out whether rows of this database were adopted before, and by what name."""
        self.sources = await self.store.sources()
        first: list[str] = []
        for table in self.legacy.columns:
            batch = next(self.legacy.batches(table, READ[table]), [])[:_PROBES]
            keys = [row_key(table, row) for row in batch]
            for source in self.sources:
                if keys and await self.store.known([source], table, keys):
                    self.source = source
                    return
            first += keys[:1]
        self.source = mark(*first)

    def batches(
        self, table: str, order: Sequence[str] = ("id",)
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a legacy table; each batch counts as progress when it is done."""
        total = self.legacy.count(table)
        counts = self.report.tables[table]
        self._progress(table, 0, total)
        for batch in self.legacy.batches(table, READ[table], order):
            yield batch
            counts.read += len(batch)
            self._progress(table, counts.read, total)

    async def known(self, table: str, keys: Sequence[str]) -> dict[str, str]:
        """The new ids of those of the rows that were adopted before."""
        return await self.store.known(self.sources, table, keys) if self.sources else {}

    def times(
        self, table: str, batch: Sequence[tuple[Any, ...]], *columns: int
    ) -> list[dt.datetime]:
        """The time of each row: that of the first of these columns that has one, or else of the
        row before it, whether that one is brought in or not. To be called for each batch."""
        times = []
        for row in batch:
            read = (moment(row[column], Fixes(), "") for column in columns)
            self._last[table] = next(filter(None, read), self._last.get(table, self.now))
            times.append(self._last[table])
        return times

    async def fresh(
        self, table: str, batch: Sequence[tuple[Any, ...]], *columns: int
    ) -> list[FreshRow]:
        """Those of the rows that were not adopted before, each once. See ``times``."""
        keys = [row_key(table, row) for row in batch]
        known = await self.known(table, keys)
        times = self.times(table, batch, *columns)
        rows = {k: FreshRow(k, row, at) for k, row, at in zip(keys, batch, times, strict=True)}
        fresh = [row for key, row in rows.items() if key not in known]
        for _ in range(len(batch) - len(fresh)):
            self.report.skipped(table, "adopted before")
        return fresh

    def name_of(self, raw: Any) -> str:
        """The session id that a legacy one becomes; the same one each time."""
        if type(raw) is str and ids.is_session_id(raw):
            return raw
        if raw is None or raw in ("", b""):
            return f"adopted-{self.source}"
        plain = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
        if ids.is_session_id(plain):
            return plain
        clean = ids.plain_name(plain)[:40].strip("-")
        return f"{clean or 'session'}-{mark(plain)}"

    # Sessions.

    async def place(self, requests: Sequence[SessionRequest]) -> list[str]:
        """Find or make sessions that were not met in this run; each is noted.

        For each request: ``known``, ``joined`` with one that is there, or ``new``.
        """
        there = await self.store.sessions([request.known or request.name for request in requests])
        targets = {request.name: request.known or request.name for request in requests}
        for request in requests:
            at = there.get(request.name)
            if request.known is not None or at is None:
                continue
            if at.deleted or at.user_id != request.user_id:
                # Somebody else's: what was said there is not for this user to read. Or deleted:
                # what came into it would go with its last rows.
                targets[request.name] = f"{request.name[:47]}-{mark(self.source, request.name)}"
                request.metadata.setdefault("adopted_session_id", request.name)
        others = [
            targets[request.name] for request in requests if targets[request.name] not in there
        ]
        there |= await self.store.sessions(others)
        there = {name: at for name, at in there.items() if not at.deleted}
        outcomes, rows, joins = [], [], []
        became: dict[str, str] = {}
        for request, old_id in zip(requests, await self._session_ids(requests), strict=True):
            target = targets[request.name]
            at = there.get(target)
            outcome = "known" if request.known else "new" if at is None else "joined"
            self.id_map.add_session(
                MappedSession(
                    request.name,
                    target,
                    at.user_id if at else request.user_id,
                    gone=outcome == "known" and at is None,
                    made=request.made and outcome == "new",
                    floor=at.highest if at and outcome == "known" else 0,
                )
            )
            outcomes.append(outcome)
            if outcome == "new":
                rows.append(_session_row(request, target, old_id))
            elif at is not None:
                whole = outcome == "joined" and not request.made
                joins.append(
                    (target, request.source, request.created_at, request.updated_at, whole)
                )
            if request.made and outcome != "known":
                became[missing_row_key(request.name)] = target
        await self.store.insert(SESSION, rows)
        self.id_map.add_joins(joins)
        await self.store.note(self.source, SESSION, became)
        return outcomes

    async def _session_ids(self, requests: Sequence[SessionRequest]) -> list[int]:
        asked = [(request.old_id, None) for request in requests]
        return [number for number, _ in await self.assign_ids(SESSION, asked)]

    async def sessions_for(
        self, wanted: Mapping[str, tuple[Any, dt.datetime]]
    ) -> dict[str, MappedSession]:
        """The sessions of rows: by name, with the legacy id and the time of the first such row.
        Those that the legacy file lacks are made."""
        mapped_sessions = {name: self.id_map.session(name) for name in wanted}
        lacking = [name for name, mapped in mapped_sessions.items() if mapped is None]
        if lacking:
            before = await self.store.known(
                [self.source], SESSION, [*map(missing_row_key, lacking)]
            )
            requests = [
                SessionRequest(
                    name, DEFAULT_USER, MADE_SOURCE, wanted[name][1], wanted[name][1],
                    metadata=made_metadata(name, wanted[name][0]), made=True,
                    known=before.get(missing_row_key(name)),
                )
                for name in lacking
            ]  # fmt: skip
            for outcome in await self.place(requests):
                if outcome == "new":
                    self.report.made(SESSION, "rows named a session that was not there")
        return {name: mapped or self._met(name) for name, mapped in mapped_sessions.items()}

    def _met(self, name: str) -> MappedSession:
        mapped = self.id_map.session(name)
        assert mapped is not None, name
        return mapped

    # Ids.

    async def assign_ids(
        self, table: str, asked: Sequence[tuple[Any, MappedSession | None]]
    ) -> list[tuple[int, bool]]:
        """New ids for rows with legacy ones, and whether they are the legacy ones.

        Within a session ids keep their order: once one of them cannot be kept, none of those
        that follow is.
        """
        wanted = [old_id for old_id, _ in asked if is_keepable(old_id)]
        taken = await self.store.taken(table, wanted)
        found: list[tuple[int, bool] | None] = []
        for old_id, mapped in asked:
            if (
                is_keepable(old_id)
                and old_id not in taken
                and (not mapped or old_id > mapped.floor)
            ):
                taken.add(old_id)
                found.append((old_id, True))
                continue
            if mapped is not None:
                self.id_map.shift(mapped)
            found.append(None)
        new = iter(await self.store.new_ids(table, found.count(None)))
        return [number or (next(new), False) for number in found]


def made_metadata(name: str, raw: Any) -> dict[str, Json]:
    """The metadata of a session that was made; the legacy id is kept where it had to be changed."""
    metadata: dict[str, Json] = {"adopted": True}
    if raw is not None and raw != name:
        plain = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
        metadata["adopted_session_id"] = storable(plain)
    return metadata


def json_text(value: Json) -> str | None:
    """JSON text for a column; NULL for nothing and for an empty object."""
    return msgspec.json.encode(value).decode() if value else None


def _session_row(request: SessionRequest, target: str, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "session_id": target,
        "epoch": str(uuid.uuid4()),
        "user_id": request.user_id,
        "source": request.source,
        "metadata": json_text(request.metadata),
        "created_at": request.created_at,
        "updated_at": request.updated_at,
        "active_at": request.updated_at,
    }
