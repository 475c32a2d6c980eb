"""operator_message: messages of a session, of any database that has them."""

from __future__ import annotations

import structlog

from operator_svc.db import Reads
from operator_svc.errors import OperatorError
from operator_svc.models import MAX_ID
from operator_svc.stores.message_rows import Exchange, ListedMessage
from operator_svc.stores.pages import PAGE_BYTES, Page, fetch_page

log = structlog.get_logger(__name__)

NOT_READ: list[Exchange] = []
"""The exchanges before a chat where they cannot be read."""


def are_cut(exchanges: list[Exchange], limit: int) -> bool:
    """True where ``limit`` of them are fewer messages than as many exchanges have, for there are
    items among them."""
    return len(exchanges) == limit > 0 and any(one.answer is None for one in exchanges)


class MessageReads:
    """Reads the messages of sessions, of any database that has them."""

    def __init__(self, db: Reads) -> None:
        self._db = db

    async def page(
        self, session_id: str, *, before: int = MAX_ID, limit: int, size: int = PAGE_BYTES
    ) -> Page[ListedMessage]:
        """Messages older than ``before``, newest first."""
        place = {"session_id": session_id, "before": before}
        return await fetch_page(
            self._db, "message_page", ListedMessage, limit=limit, size=size, **place
        )

    async def page_after(
        self, session_id: str, *, after: int, limit: int, size: int = PAGE_BYTES
    ) -> Page[ListedMessage]:
        """Messages newer than ``after``, oldest first."""
        place = {"session_id": session_id, "after": after}
        return await fetch_page(
            self._db, "message_page_after", ListedMessage, limit=limit, size=size, **place
        )

    async def exchanges(
        self, session_id: str, *, before: int, limit: int, max_chars: int
    ) -> list[Exchange]:
        """Exchanges before a message, newest first; one more character than ``max_chars`` of
        each text, so that a longer one shows. Where items are among them, up to twice ``limit``:
        one of them is half an exchange."""
        found: list[Exchange] = []
        for page in (limit, 2 * limit):
            found = await self._db.fetch(
                "exchanges",
                Exchange,
                session_id=session_id,
                before=before,
                page=page,
                max_chars=max_chars,
            )
            if not are_cut(found, limit):
                break
        return found

    async def exchanges_of_begun(
        self, session_id: str, *, before: int, limit: int, max_chars: int
    ) -> list[Exchange]:
        """As ``exchanges``, for a chat that is stored; ``NOT_READ`` where the database does not
        answer. To fail then would leave a reply that nobody writes."""
        try:
            return await self.exchanges(session_id, before=before, limit=limit, max_chars=max_chars)
        except OperatorError as error:
            log.warning("history not read", session_id=session_id, error=str(error.code))
            return NOT_READ
