"""Listeners to what other pods tell."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from operator_svc.models import MAX_REPLY_CHARS
from operator_svc.protocol.frames import PIECE_CHARS

NotificationListener: TypeAlias = Callable[[Collection[str] | None], None]
"""Called with the sessions in which another pod has new events; None if it may be any."""


class ReplyPiece(msgspec.Struct, frozen=True, array_like=True, tag="piece"):
    """A piece of a running reply's text, from a code point on. An empty one says that the text is
    stored up to there. ``begun_at`` tells the reply from another one that was given its id.

    The bounds are those of the pieces that are sent: strangers may send others.
    """

    session_id: str
    reply_id: int
    begun_at: datetime
    offset: Annotated[int, Meta(ge=0, le=MAX_REPLY_CHARS)]
    content: Annotated[str, Meta(max_length=PIECE_CHARS)]


PieceListener: TypeAlias = Callable[[ReplyPiece], None]
"""Called with each piece of another pod's replies that comes, in whatever order they come."""


def ignore_piece(_: ReplyPiece) -> None:
    """Do nothing with a piece."""
