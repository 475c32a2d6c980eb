"""The export of a session: all of it, in pieces that are read as its client takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec
from msgspec import UNSET

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Session
from operator_svc.protocol.sessions import MessageView
from operator_svc.services.chat.history import SessionHistory
from operator_svc.services.chat.sessions import session_view

T = TypeVar("T")

PAGE, PAGE_BYTES = 200, 256 * 1024
"""Messages, and bytes of them, read at once."""
PATIENCE, PAUSE = 30.0, 1.0
"""Seconds for which a piece is read again where the database is away, and between attempts."""


async def export(history: SessionHistory, session: Session) -> AsyncIterator[bytes]:
    """The session and then each of its messages, as JSON Lines; in pieces, of which a row larger
    than ``PAGE_BYTES`` is one.

    Raises OperatorError(database_unavailable): at once before the first piece, later only where a
    piece cannot be read for ``PATIENCE`` seconds, and OperatorError(session_not_found) where the
    session is deleted meanwhile: what is left of it would pass for all of it.
    """

    async def read(after: int) -> tuple[list[MessageView], bool, int | None]:
        found = await history.page_after(session, after, limit=PAGE, size=PAGE_BYTES)
        await history.check_there(session)
        return found

    views, whole, after = await read(0)
    yield _line("session", session_view(session))
    while True:
        for view in views:
            if whole:
                yield _line("message", view)
            else:
                async for piece in _line_with_calls(history, session, view):
                    yield piece
        if after is None:
            return
        views, whole, after = await _patiently(partial(read, after))


async def _line_with_calls(
    history: SessionHistory, session: Session, view: MessageView
) -> AsyncIterator[bytes]:
    """The line of a message whose tool calls are read while it is written."""
    begun = {name: value for name, value in _plain(view).items() if name != "tool_calls"}
    yield msgspec.json.encode({"type": "message", **begun})[:-1] + b',"tool_calls":['
    after: int | None = 0
    while after is not None:
        read = partial(history.tool_calls_after, view.id, after, PAGE_BYTES)
        calls, following = await _patiently(read)
        await _patiently(partial(history.check_there, session))
        piece = b",".join(msgspec.json.encode(call) for call in calls)
        yield b"," + piece if after and piece else piece
        after = following
    yield b"]}\n"


async def _patiently(read: Callable[[], Awaitable[T]]) -> T:
    """The answer of ``read``, which is repeated for a while where the database is away or has too
    much to do. Raises OperatorError(database_unavailable) then, and any other error at once."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        try:
            return await read()
        except OperatorError as error:
            if error.code is not ErrorCode.DATABASE_UNAVAILABLE or loop.time() > deadline:
                raise
        await asyncio.sleep(PAUSE)


def _line(kind: str, view: msgspec.Struct) -> bytes:
    return msgspec.json.encode({"type": kind, **_plain(view)}) + b"\n"


def _plain(view: msgspec.Struct) -> dict[str, object]:
    fields = {name: getattr(view, name) for name in view.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not UNSET}
