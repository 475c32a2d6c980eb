"""Counts feedback by hour, beside the writes of replies and clients."""

from __future__ import annotations

from functools import partial

from operator_svc.services.retry import purge_pages
from operator_svc.stores.feedback_hours import FeedbackHourStore

COUNT_INTERVAL = 5.0
"""Seconds between looks: until then the ranking adds the newest changes itself."""
PAGE = 1000
"""Rows that one write counts or marks. Chats of SQLite wait for it, some 10 ms."""

KEPT_DAYS = 368.0
"""Days that counts are kept: the ranking looks at the last 366 (rest/handlers/switch.py)."""


class FeedbackCounter:
    """Brings changes of feedback into the counts of their hours. Any number of pods may do so at
    once, and one that dies leaves what it has not counted to the others."""

    def __init__(self, store: FeedbackHourStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Count until nothing waits, also what older versions have stored. To be called every
        ``COUNT_INTERVAL`` seconds.

        Raises OperatorError(database_unavailable).
        """
        while await self._store.mark(PAGE):
            await self._count()
        await self._count()

    async def _count(self) -> None:
        await purge_pages(self._store.count, PAGE)


async def purge_feedback_hours(store: FeedbackHourStore) -> None:
    """Delete the counts of hours that are too old for any ranking, and empty ones."""
    await purge_pages(partial(store.purge, KEPT_DAYS), PAGE)
