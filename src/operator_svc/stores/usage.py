"""operator_usage: tokens of replies by day, name of the token, user and model.

The end of a reply appends to operator_usage_change; from there it comes into the days.
"""

from __future__ import annotations

from operator_svc.db import Database
from operator_svc.models import Record


class UsageRow(Record, frozen=True):
    """Replies, and tokens as the upstream counted them, of what ``key`` names."""

    key: str
    replies: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CountedChange(Record, frozen=True):
    """A row that was counted or deleted."""

    id: int


class UsageStore:
    """Counts usage by day, and reads it. Any number of processes may count."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(
        self,
        dimension: str,
        *,
        first_day: str,
        last_day: str,
        token: str | None,
        user_id: str | None,
        after: str,
        limit: int,
    ) -> list[UsageRow]:
        """Usage of some days (both are in) by ``day``, ``token``, ``user`` or ``model``, of one
        token and one user where they are given: up to ``limit`` keys over ``after``, in order."""
        return await self._db.fetch(
            "usage_by",
            UsageRow,
            dimension=dimension,
            first_day=first_day,
            last_day=last_day,
            token=token,
            user_id=user_id,
            after=after,
            page=limit,
        )

    async def count(self, limit: int) -> int:
        """Bring up to ``limit`` changes into their days; how many there were."""
        return len(await self._db.write("usage_count", CountedChange, page=limit))

    async def purge(self, days: float, limit: int) -> int:
        """Delete counts older than ``days``, in pages; how many were deleted."""
        return len(await self._db.write("usage_purge", CountedChange, days=days, page=limit))
