"""Moments as text."""

from __future__ import annotations

import datetime as dt

import msgspec

_encode = msgspec.json.Encoder().encode
_WHOLE_SECONDS = len("2026-01-01T00:00:00Z")


def utc_text(moment: dt.datetime) -> str:
    """``moment`` in RFC 3339, in UTC with microseconds: the order of texts is that of time.

    Raises ValueError for a moment without a time zone. msgspec writes one in a quarter of the time
    that ``isoformat`` takes.
    """
    if moment.tzinfo is not dt.UTC:
        if moment.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        moment = moment.astimezone(dt.UTC)
    text = _encode(moment)[1:-1].decode()
    return text if len(text) != _WHOLE_SECONDS else f"{text[:-1]}.000000Z"
