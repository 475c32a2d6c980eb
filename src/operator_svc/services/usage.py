"""Usage: who used how many tokens of which model, counted by day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import partial

from operator_svc.models import Caller
from operator_svc.protocol.usage import Dimension, UsageList, UsageView
from operator_svc.protocol.views import view_of
from operator_svc.services.pagination import parse_text_cursor, text_cursor
from operator_svc.services.retry import purge_pages
from operator_svc.stores.usage import UsageStore

COUNT_INTERVAL = 5.0
"""Seconds between counts: until then the reads add the newest changes themselves."""
PAGE = 1000
"""Rows that one write counts or deletes. Chats of SQLite wait for it, some 10 ms."""
KEPT_DAYS = 1100.0
"""Days that counts are kept: three years, and what is left of a month."""
SHOWN_DAYS = 30
"""Days up to the last one that are shown where no first one is given."""


class UsageReports:
    """Counts the usage of replies by day, and shows callers the part that they may see."""

    def __init__(self, store: UsageStore) -> None:
        self._store = store

    async def page(
        self,
        caller: Caller,
        *,
        by: Dimension,
        first: date | None,
        last: date | None,
        limit: int,
        cursor: str | None,
    ) -> UsageList:
        """A page of usage, in the order of its keys: for the role ``operator`` of all, for a token
        of a user of that user, for any other of that token.

        Raises OperatorError(invalid_parameter) for a cursor that is none of this dimension.
        """
        last = last or datetime.now(UTC).date()
        first = first or date.fromordinal(max(1, last.toordinal() - SHOWN_DAYS + 1))
        confined = caller.user_id is None and caller.role != "operator"
        rows = await self._store.page(
            by,
            first_day=first.isoformat(),
            last_day=last.isoformat(),
            token=caller.name if confined else None,
            user_id=caller.user_id,
            after=parse_text_cursor(cursor, by, ""),
            limit=limit + 1,
        )
        return UsageList(
            by=by,
            from_day=first.isoformat(),
            to_day=last.isoformat(),
            usage=[view_of(UsageView, row) for row in rows[:limit]],
            next_cursor=text_cursor(by, rows[limit - 1].key) if len(rows) > limit else None,
        )

    async def count(self) -> None:
        """Bring what waits into the counts of its days. To be called every ``COUNT_INTERVAL``
        seconds; any number of pods may do so at once.

        Raises OperatorError(database_unavailable).
        """
        await purge_pages(self._store.count, PAGE)

    async def purge(self) -> None:
        """Delete counts older than ``KEPT_DAYS``."""
        await purge_pages(partial(self._store.purge, KEPT_DAYS), PAGE)
