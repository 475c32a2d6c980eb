"""Usage: tokens of replies, by day, token, user or model."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Dimension: TypeAlias = Annotated[
    Literal["day", "token", "user", "model"], Meta(title="UsageDimension")
]


class UsageView(msgspec.Struct, frozen=True):
    """Replies and their tokens, as the upstream counted them. ``key`` is a day, the name of a
    token, a user or a model."""

    key: str
    """A day (``YYYY-MM-DD``), the name of a token, a user or a model."""
    replies: int
    """Replies that have ended, and whose tokens the upstream counted."""
    prompt_tokens: int
    """Tokens that were sent to the upstream."""
    completion_tokens: int
    """Tokens that it wrote."""
    total_tokens: int
    """Both, as the upstream counted them."""


class UsageList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of usage; ``next_cursor`` asks for the next one. Both days are in, in UTC."""

    by: Dimension
    """The meaning of the keys."""
    from_day: str = msgspec.field(name="from")
    """The first day."""
    to_day: str = msgspec.field(name="to")
    """The last day."""
    usage: list[UsageView]
    """The usage, in the order of its keys."""
    next_cursor: str | None
    """The cursor of the next page; null at the end."""
