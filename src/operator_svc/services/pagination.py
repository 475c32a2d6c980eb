"""The opaque cursors of lists, which ask for the next page."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import MAX_ID
from operator_svc.protocol.text import problem as text_problem


def id_cursor(row_id: int) -> str:
    """The cursor of a list that is ordered by id."""
    return _encode(str(row_id))


def parse_id_cursor(cursor: str | None, first: int) -> int:
    """The id in a cursor; ``first`` without one.

    Raises OperatorError(invalid_parameter).
    """
    if cursor is None:
        return first
    # Cursors were once plain digits in some lists. No encoded one is: they begin with a letter.
    return _id(cursor if cursor.isdigit() else _decode(cursor))


def time_cursor(moment: datetime, row_id: int) -> str:
    """The cursor of a list that is ordered by a time and, where times are equal, by id."""
    return _encode(f"{moment.astimezone(UTC).isoformat()}/{row_id}")


def parse_time_cursor(cursor: str | None, first: tuple[datetime, int]) -> tuple[datetime, int]:
    """The time and the id in a cursor; ``first`` without one.

    Raises OperatorError(invalid_parameter).
    """
    if cursor is None:
        return first
    text, _, row_id = _decode(cursor).partition("/")
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise _invalid()
        return moment.astimezone(UTC), _id(row_id)
    except (ValueError, OverflowError):  # the latter for one that UTC has in no year
        raise _invalid() from None


def text_cursor(order: str, text: str) -> str:
    """The cursor of a list that is ordered by a text, one of several whose names have no slash."""
    return _encode(f"{order}/{text}")


def parse_text_cursor(cursor: str | None, order: str, first: str) -> str:
    """The text in a cursor of this order; ``first`` without one.

    Raises OperatorError(invalid_parameter).
    """
    if cursor is None:
        return first
    known, slash, text = _decode(cursor).partition("/")
    if not slash or known != order or text_problem(text):
        raise _invalid()
    return text


def _encode(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded.encode(), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise _invalid() from None


def _id(digits: str) -> int:
    if digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) <= MAX_ID:
        return int(digits)
    raise _invalid()


def _invalid() -> OperatorError:
    return OperatorError(
        ErrorCode.INVALID_PARAMETER, "cursor: it is not one that Operator returned"
    )
