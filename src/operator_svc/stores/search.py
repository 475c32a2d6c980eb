"""operator_search: the words of finished messages, and the sessions that are found by them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from operator_svc.db import Database, Reads
from operator_svc.models import Record, Session
from operator_svc.protocol.search_words import SearchQuery
from operator_svc.stores.pages import Page, fetch_page
from operator_svc.stores.writes import RecordId

Place: TypeAlias = tuple[datetime, int]
"""A place in the list of sessions: a session's ``active_at`` and ``id``."""

FIRST_LOOK, WIDER_LOOK = 2_000, 10_000
"""Messages of the newest sessions that are looked through before the index is asked: a frequent
word is found among them, and the index would give all that have it."""
LOOK_SESSIONS = 2_000
"""Sessions that are looked through at most, however few messages they have."""
SAMPLE = 500
"""Messages of which it is counted how many have a word."""


class Window(Record, frozen=True):
    """Sessions there are, up to those asked for, and how many of the newest fit."""

    sessions: int
    fitting: int


class Sample(Record, frozen=True):
    """The number of messages of a sample that have the words."""

    messages: int


class Waiting(Record, frozen=True):
    """A message that waits for its words to be indexed; None as content where it is gone."""

    message_id: int
    content: str | None


class SessionSearch:
    """Finds sessions by words, newest first; the same ones on both engines.

    Either of two ways is slow somewhere: to look through sessions until enough have the words,
    where the words are rare, and to take all messages from the index and sort their sessions,
    where they are frequent. So the newest are looked through first, and how many were found
    there says which way is the shorter one.
    """

    def __init__(self, db: Reads) -> None:
        self._db = db

    async def page(
        self, query: SearchQuery, *, user_id: str | None, before: Place, limit: int
    ) -> Page[Session]:
        """Sessions before a place of the list where one message has all that is asked for."""
        if not query:
            return Page([], None)
        found, whole = await self._recent(FIRST_LOOK, query, user_id, before, limit)
        if whole or found.last is not None:
            return found
        if len(found.rows) * WIDER_LOOK >= limit * FIRST_LOOK:
            found, whole = await self._recent(WIDER_LOOK, query, user_id, before, limit)
            if whole or found.last is not None:
                return found
        return await self._indexed(query, user_id, before, limit)

    async def _recent(
        self, messages: int, query: SearchQuery, user_id: str | None, before: Place, limit: int
    ) -> tuple[Page[Session], bool]:
        """Those found among the newest sessions with so many messages, and whether these are all
        that there are before the place."""
        scope: dict[str, Any] = {"before_at": before[0], "before_id": before[1]}
        look, read = "search_window", "search_recent"
        if user_id is not None:
            look, read = "search_window_of_user", "search_recent_of_user"
            scope["user_id"] = user_id
        window = await self._db.fetch_one(
            look, Window, **scope, sessions=LOOK_SESSIONS, messages=messages
        )
        assert window is not None
        whole = window.sessions == window.fitting < LOOK_SESSIONS
        if window.fitting == 0:
            return Page([], None), whole
        found = await fetch_page(
            self._db,
            read,
            Session,
            limit=limit,
            **scope,
            words=self._checked(query),
            sessions=window.fitting,
        )
        return found, whole

    async def _indexed(
        self, query: SearchQuery, user_id: str | None, before: Place, limit: int
    ) -> Page[Session]:
        asked, checked = query, None
        if query.words and query.prefixes and not await self._narrow(query):
            asked, checked = SearchQuery(query.words, ()), SearchQuery((), query.prefixes)
        return await fetch_page(
            self._db,
            "search_indexed",
            Session,
            limit=limit,
            asked=self._asked(asked),
            checked=None if checked is None else self._checked(checked),
            user_id=user_id,
            before_at=before[0],
            before_id=before[1],
        )

    async def _narrow(self, query: SearchQuery) -> bool:
        """True where fewer messages have words with the prefixes than have the whole words: the
        index gathers all that begin with a letter, however few of them the other words leave."""
        prefixes = await self._frequency(SearchQuery((), query.prefixes))
        return prefixes <= await self._frequency(SearchQuery(query.words, ()))

    async def _frequency(self, query: SearchQuery) -> int:
        """The number of the newest messages that have the words."""
        sample = await self._db.fetch_one(
            "search_sample", Sample, words=self._checked(query), messages=SAMPLE
        )
        assert sample is not None
        return sample.messages

    def _asked(self, query: SearchQuery) -> str:
        """The query for the index: a tsquery, or an expression of FTS5. Words have letters
        and digits only, so that nothing in them could be read as an operator."""
        if self._db.dialect == "postgresql":
            words = [f"'{word}'" for word in query.words]
            return " & ".join(words + [f"'{prefix}':*" for prefix in query.prefixes])
        words = [f'"{word}"' for word in query.words]
        return " ".join(words + [f'"{prefix}" *' for prefix in query.prefixes])

    def _checked(self, query: SearchQuery) -> Any:
        """The query for the words of one message: a tsquery, or for SQLite what must stand
        in them, which have spaces around each."""
        if self._db.dialect == "postgresql":
            return self._asked(query)
        return [f" {word} " for word in query.words] + [f" {prefix}" for prefix in query.prefixes]


class SearchIndexStore:
    """The queue of messages whose words are not in the index yet. Triggers fill it, in the write
    that finishes a message; a claim keeps other pods from doing the same work."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def claim(self, seconds: float, *, messages: int, size: int) -> list[Waiting]:
        """Take up to so many messages that wait, the newest ones, and of them as many as have
        ``size`` bytes together; one at least. Others may take them after ``seconds``."""
        return await self._db.write(
            "search_claim", Waiting, seconds=seconds, messages=messages, bytes=size
        )

    async def store(self, words: Sequence[tuple[int, str]]) -> None:
        """Store the words of messages, and take these off the queue."""
        await self._db.write("search_store", RecordId, entries=[list(entry) for entry in words])

    async def backfill(self, messages: int) -> bool:
        """Put so many messages that are older than the index into the queue; False where all are
        in it, or another pod is at it."""
        return bool(await self._db.write("search_backfill", RecordId, messages=messages))
