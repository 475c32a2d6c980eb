"""operator_switch_adjustment: changes of Switch, and which process works on one."""

from __future__ import annotations

from datetime import datetime

from operator_svc.db import AsJson, Database
from operator_svc.models import Json, Record, SwitchAdjustment

NEWEST = 2**63 - 1
"""An id that stands after every change."""


class WrittenAdjustment(SwitchAdjustment, frozen=True):
    """A change as it was stored, and the event that says so where it has a session."""

    seq: int | None
    ts: datetime | None
    data: Json


class AtWork(Record, frozen=True):
    """A change that a process works on."""

    id: int
    owner: str


class Released(Record, frozen=True):
    """A change whose mark was taken off."""

    id: int


class AdjustmentStore:
    """Reads and writes changes. A process marks the one that it works on with its id."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, adjustment_id: int, viewer: str | None = None) -> SwitchAdjustment | None:
        """The change, or None where there is none that ``viewer`` may see (None sees all)."""
        return await self._db.fetch_one(
            "adjustment_get", SwitchAdjustment, adjustment_id=adjustment_id, viewer=viewer
        )

    async def page(
        self,
        *,
        viewer: str | None,
        session_id: str | None,
        applied: bool | None,
        before: int = NEWEST,
        limit: int,
    ) -> list[SwitchAdjustment]:
        """Changes with ids less than ``before``, newest first."""
        return await self._db.fetch(
            "adjustment_page",
            SwitchAdjustment,
            viewer=viewer,
            session_id=session_id,
            applied=applied,
            before=before,
            page=limit,
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
        """Store one; None where there is no such session that ``viewer`` may see."""
        rows = await self._db.write(
            "adjustment_record",
            WrittenAdjustment,
            session_id=session_id,
            viewer=viewer,
            message_id=message_id,
            before_config=AsJson(before_config),
            after_config=AsJson(after_config),
            reason=reason,
        )
        return rows[0] if rows else None

    async def claim(
        self, adjustment_id: int, pod_id: str, *, applied: bool
    ) -> SwitchAdjustment | None:
        """Mark one that is ``applied`` or not; None where it is not so, or another has it.

        A mark of ``pod_id`` itself is no obstacle: the process knows what it works on.
        """
        rows = await self._db.write(
            "adjustment_claim",
            SwitchAdjustment,
            adjustment_id=adjustment_id,
            pod_id=pod_id,
            applied=applied,
        )
        return rows[0] if rows else None

    async def release(self, adjustment_id: int, pod_id: str) -> None:
        """Take the mark off, with nothing done."""
        await self._db.write(
            "adjustment_release", Released, adjustment_id=adjustment_id, pod_id=pod_id
        )

    async def at_work(self) -> list[AtWork]:
        """The changes that processes work on now."""
        return await self._db.fetch("adjustment_at_work", AtWork)

    async def free(self) -> int:
        """Take off the marks of processes that are gone; how many there were."""
        return len(await self._db.write("adjustment_free", Released))

    async def finish(
        self, adjustment: SwitchAdjustment, pod_id: str, event: str, error: str | None
    ) -> WrittenAdjustment | None:
        """Store what came of it and take the mark off; None where ``pod_id`` does not have it.

        ``event`` is ``switch_adjustment.applied``, ``.reverted`` or ``.failed``.
        """
        rows = await self._db.write(
            "adjustment_finish",
            WrittenAdjustment,
            adjustment_id=adjustment.id,
            session_id=adjustment.session_id,
            pod_id=pod_id,
            event=event,
            error=error,
        )
        return rows[0] if rows else None
