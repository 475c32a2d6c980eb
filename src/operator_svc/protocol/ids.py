"""Ids and names as they come in paths, headers and bodies, and what each may look like."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

_PLAIN = "A-Za-z0-9._:-"
_SESSION_ID = rf"[{_PLAIN}]{{1,64}}"
_TASK_ID = rf"[{_PLAIN}]{{1,200}}"

SessionId = Annotated[str, Meta(pattern=rf"^{_SESSION_ID}(?!\n)$")]
"""A session's public id. ``$`` alone would let a line end through."""
UserId = Annotated[str, Meta(min_length=1, max_length=128)]
RowId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
"""The id of a message, reply, tool call, adjustment or feedback row."""
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""The number of an event; 0 is before the first one."""
Epoch = Annotated[str, Meta(max_length=64)]
"""The UUID made with a session."""
Cursor = Annotated[str, Meta(min_length=1, max_length=200)]
"""The place where a page of a list begins; opaque to clients."""
KeyText = Annotated[str, Meta(min_length=1, max_length=200)]
"""An idempotency key."""

is_session_id = re.compile(_SESSION_ID).fullmatch
is_task_id = re.compile(_TASK_ID).fullmatch
is_request_id = re.compile(rf"[/+={_PLAIN}]{{1,128}}").fullmatch
is_printable_key = re.compile(r"[\x20-\x7e]{1,200}").fullmatch
_is_row_id = re.compile(r"[1-9][0-9]{0,18}").fullmatch


def row_id(text: str) -> int | None:
    """The row id that ``text`` writes; None where it writes none."""
    if _is_row_id(text) and int(text) < 2**63:
        return int(text)
    return None


def plain_name(text: str) -> str:
    """``text`` with all that ids may not hold turned into dashes."""
    return re.sub(rf"[^{_PLAIN}]+", "-", text)
