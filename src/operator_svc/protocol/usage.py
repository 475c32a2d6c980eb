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
    replies: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class UsageList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of usage; ``next_cursor`` asks for the next one. Both days are in, in UTC."""

    by: Dimension
    from_day: str = msgspec.field(name="from")
    to_day: str = msgspec.field(name="to")
    usage: list[UsageView]
    next_cursor: str | None
