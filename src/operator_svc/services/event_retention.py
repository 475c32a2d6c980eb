"""The purge of events that are older than their retention."""

from __future__ import annotations

import structlog

from operator_svc.stores.events import EventStore

PURGE_PAGE = 5000
"""Rows that are deleted for their age in one write."""

log = structlog.get_logger(__name__)


async def purge_events(store: EventStore, days: float) -> None:
    """Delete what is older than ``days``, and make the partitions of the days to come.

    Where others keep the tables it is left for the next time, lest all who read and write wait
    for them too. Raises OperatorError(database_unavailable).
    """
    while steps := await store.purge(days, PURGE_PAGE):
        if steps[0].held_up:
            log.warning("partition of events blocked by a lock", partition=steps[0].day)
            return
        if steps[0].day is not None:
            log.info("partition of events made or dropped", partition=steps[0].day)
