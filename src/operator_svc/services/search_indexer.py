"""Brings the words of finished messages into the search index, beside the writes of chats."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from operator_svc import telemetry
from operator_svc.protocol.search_words import words_of
from operator_svc.stores.search import SearchIndexStore, Waiting

INDEX_INTERVAL = 1.0
"""Seconds between looks into the queue: what is said is found two seconds later at most."""
CLAIM_SECONDS = 10.0
"""Seconds after which others may index what a pod took and did not store."""
BATCH_MESSAGES, BATCH_BYTES = 100, 128 * 1024
"""Messages indexed in one write. Chats of SQLite wait for it, a few milliseconds."""


class SearchIndexer:
    """Indexes what waits in the queue. Any number of pods may do so at once: each message is
    claimed by one of them, and one that dies leaves its claims to the others."""

    def __init__(self, store: SearchIndexStore) -> None:
        self._store = store

    async def run(self) -> None:
        """Index until nothing waits. To be called every ``INDEX_INTERVAL`` seconds.

        Raises OperatorError(database_unavailable).
        """
        while True:
            claimed = await self._store.claim(
                CLAIM_SECONDS, messages=BATCH_MESSAGES, size=BATCH_BYTES
            )
            if claimed:
                # A long reply takes tens of milliseconds, in which the loop must go on.
                entries = await asyncio.to_thread(_prepared, claimed)
                await self._store.store(entries)
                telemetry.SEARCH_INDEXED.inc(len(entries))
            elif not await self._store.backfill(BATCH_MESSAGES):
                return


def _prepared(claimed: Sequence[Waiting]) -> list[tuple[int, str]]:
    return [(row.message_id, words_of(row.content or "")) for row in claimed]
