"""Sessions for their clients: found, listed and deleted."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import UNSET, UnsetType

from operator_svc.models import Caller, Session
from operator_svc.protocol.sessions import SessionList, SessionView
from operator_svc.protocol.views import view_of
from operator_svc.services.access import listed_user, no_session
from operator_svc.services.chat.session_deletion import SessionDeletion
from operator_svc.services.pagination import parse_time_cursor, time_cursor
from operator_svc.stores.pages import Page
from operator_svc.stores.read_sources import ReadSource, ReadSources
from operator_svc.stores.sessions import NEWEST, SessionStore

PREVIEW = 120
"""Characters of a session's first message in the list."""


class Sessions:
    """Sessions, for the callers who may see them."""

    def __init__(
        self, store: SessionStore, sources: ReadSources, deletion: SessionDeletion
    ) -> None:
        self._store = store
        self._sources = sources
        self._deletion = deletion

    async def get(self, caller: Caller, session_id: str) -> Session:
        """The session; raises OperatorError(session_not_found)."""
        session = await self._store.get(session_id, caller.user_id)
        if session is None:
            raise no_session()
        return session

    async def find(self, session_id: str) -> Session | None:
        """The session, whoever may see it; None where there is none."""
        return await self._store.get(session_id)

    async def page(
        self,
        caller: Caller,
        *,
        user_id: str | None,
        words: str | None,
        limit: int,
        cursor: str | None,
    ) -> SessionList:
        """A page of sessions, newest first; with ``words`` those where a message has them all.

        Raises OperatorError(forbidden) where it would be those of a user that is not the caller's,
        or those of all users for one who has not the role ``operator``.
        """
        read = partial(
            _read_page,
            user_id=listed_user(caller, user_id),
            words=words,
            before=parse_time_cursor(cursor, NEWEST),
            limit=limit,
        )
        # The list without words costs less than asking how far the standby is.
        page, beginnings = await (
            read(self._sources.primary) if words is None else self._sources.of_all(read)
        )
        return SessionList(
            sessions=[
                session_view(row, preview_of(beginnings.get(row.id, ""))) for row in page.rows
            ],
            next_cursor=time_cursor(page.last.active_at, page.last.id) if page.last else None,
        )

    async def delete(self, caller: Caller, session_id: str) -> None:
        """Delete a session and all that belongs to it; its running replies stop.

        Raises OperatorError(session_not_found).
        """
        if not await self._deletion.delete(session_id, caller.user_id):
            raise no_session()


async def _read_page(source: ReadSource, **asked: Any) -> tuple[Page[Session], dict[int, str]]:
    page = await source.sessions.page(**asked)
    return page, await source.sessions.beginnings([row.id for row in page.rows])


def session_view(session: Session, preview: str | UnsetType = UNSET) -> SessionView:
    """A session as lists and exports show it."""
    return view_of(SessionView, session, metadata=session.metadata or {}, preview=preview)


def preview_of(text: str) -> str | UnsetType:
    """The beginning of ``text`` as one line, UNSET where there is none."""
    return " ".join(text.split())[:PREVIEW] or UNSET
