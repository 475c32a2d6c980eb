"""operator_switch_adjustment: adjustments of Switch's configuration, and who works on one."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from operator_svc.db import AsJson, Database
from operator_svc.models import MAX_ID, Json, Record, SwitchAdjustment
from operator_svc.protocol import events
from operator_svc.protocol.event_data import data_of_record
from operator_svc.protocol.switch import AdjustmentView
from operator_svc.stores.events import RecordEvent
from operator_svc.stores.pages import Page, fetch_page
from operator_svc.stores.writes import RecordId, insert_one, write_one

_MOVED = {
    events.ADJUSTMENT_APPLIED: "applied_at",
    events.ADJUSTMENT_REVERTED: "reverted_at",
}
"""The column that an event sets to its own time."""


class WrittenAdjustment(NamedTuple):
    """An adjustment as it was stored, and the event that says so."""

    row: SwitchAdjustment
    event: RecordEvent


class ClaimedAdjustment(Record, frozen=True):
    """An adjustment that a process works on, and that process."""

    id: int
    owner: str


class AdjustmentStore:
    """Reads and writes adjustments. A process claims the one that it works on with its id."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, adjustment_id: int, viewer: str | None = None) -> SwitchAdjustment | None:
        """The adjustment, or None where there is none that ``viewer`` may see (None sees all)."""
        return await self._db.fetch_one(
            "adjustment_get", SwitchAdjustment, adjustment_id=adjustment_id, viewer=viewer
        )

    async def page(
        self,
        *,
        viewer: str | None,
        session_id: str | None,
        applied: bool | None,
        before: int = MAX_ID,
        limit: int,
    ) -> Page[SwitchAdjustment]:
        """Adjustments with ids less than ``before``, newest first."""
        return await fetch_page(
            self._db,
            "adjustment_page",
            SwitchAdjustment,
            viewer=viewer,
            session_id=session_id,
            applied=applied,
            before=before,
            limit=limit,
        )

    async def record(
        self,
        *,
        session_id: str | None,
        viewer: str | None,
        message_id: int | None,
        before_config: Json,
        after_config: Json,
        reason: str,
    ) -> WrittenAdjustment | None:
        """Store one; None where there is no such session that ``viewer`` may see, or its message
        was just deleted."""
        plain: dict[str, Any] = {
            "session_id": session_id,
            "message_id": message_id,
            "reason": reason,
        }
        configs: dict[str, Any] = {"before_config": before_config, "after_config": after_config}
        event = await insert_one(
            self._db,
            "adjustment_record",
            RecordEvent,
            viewer=viewer,
            data=data_of_record(AdjustmentView, plain | configs | {"applied": False}),
            **{name: AsJson(config) for name, config in configs.items()},
            **plain,
        )
        if event is None:
            return None
        row = SwitchAdjustment(
            id=event.id,
            **plain,
            **configs,
            applied=False,
            applied_at=None,
            reverted_at=None,
            error=None,
            owner=None,
            created_at=event.ts,
        )
        return WrittenAdjustment(row, event)

    async def claim(
        self, adjustment_id: int, pod_id: str, *, applied: bool
    ) -> SwitchAdjustment | None:
        """Claim one that is ``applied`` or not; None where it is not so, or another has it.

        A claim of ``pod_id`` itself is no obstacle: the process knows what it works on.
        """
        return await write_one(
            self._db,
            "adjustment_claim",
            SwitchAdjustment,
            adjustment_id=adjustment_id,
            pod_id=pod_id,
            applied=applied,
        )

    async def release(self, adjustment_id: int, pod_id: str) -> None:
        """Give the claim up, with nothing done."""
        await self._db.write(
            "adjustment_release", RecordId, adjustment_id=adjustment_id, pod_id=pod_id
        )

    async def in_progress(self) -> list[ClaimedAdjustment]:
        """The adjustments that processes work on now."""
        return await self._db.fetch("adjustments_in_progress", ClaimedAdjustment)

    async def release_orphaned(self, idle_pod_id: str | None) -> int:
        """Give up the claims of processes whose lease is over, and those of ``idle_pod_id``, which
        works on none; returns their number."""
        return len(
            await self._db.write("adjustments_release_orphaned", RecordId, idle_pod_id=idle_pod_id)
        )

    async def finish(
        self, claimed: SwitchAdjustment, pod_id: str, event: str, error: str | None
    ) -> WrittenAdjustment | None:
        """Store how applying or reverting ended and give the claim up; None where ``pod_id`` does
        not have it any more.

        ``event`` is ``switch_adjustment.applied``, ``.reverted`` or ``.failed``.
        """
        moved = _MOVED.get(event)
        ended = msgspec.structs.replace(claimed, owner=None, error=error)
        if moved is not None:
            ended = msgspec.structs.replace(
                ended, applied=event == events.ADJUSTMENT_APPLIED, reverted_at=None
            )
        stored = await write_one(
            self._db,
            "adjustment_finish",
            RecordEvent,
            adjustment_id=claimed.id,
            session_id=claimed.session_id,
            pod_id=pod_id,
            event=event,
            applied=ended.applied,
            moved=moved,
            error=error,
            data=data_of_record(AdjustmentView, msgspec.structs.asdict(ended)),
        )
        if stored is None:
            return None
        if moved is not None:
            ended = msgspec.structs.replace(ended, **{moved: stored.ts})
        return WrittenAdjustment(ended, stored)
