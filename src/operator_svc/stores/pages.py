"""Pages of lists: each ends at a number of rows or of bytes, whichever comes first.

The queries carry the hint ``page of :bytes``, which adds the column ``found``: the number of rows
that there are, up to one more than was asked for.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from operator_svc.db import Reads
from operator_svc.models import Record

R = TypeVar("R", bound=Record)

PAGE_BYTES = 4 * 2**20
"""Bytes of stored content that a page has at most; a single row may be larger."""


class Page(msgspec.Struct, Generic[R], frozen=True):
    """The rows of a page, which equal none that were read otherwise: each has ``found`` beside its
    own columns. ``last`` is the one after which the next page begins, None at the end."""

    rows: list[R]
    last: R | None


async def fetch_page(
    db: Reads, query: str, record: type[R], *, limit: int, size: int = PAGE_BYTES, **params: Any
) -> Page[R]:
    """Up to ``limit`` rows of a query, and of them as many as have ``size`` bytes together; one
    at least."""
    # One row more than the page may have shows that another one follows.
    rows: list[Any] = await db.fetch(query, _counted(record), page=limit + 1, bytes=size, **params)
    del rows[limit:]
    return Page(rows, rows[-1] if rows and rows[0].found > len(rows) else None)


@cache
def _counted(record: type[Record]) -> type[msgspec.Struct]:
    """``record`` with the column that each row of a page has beside its own."""
    return msgspec.defstruct(
        f"{record.__name__}OfPage", [("found", int)], bases=(record,), frozen=True
    )
