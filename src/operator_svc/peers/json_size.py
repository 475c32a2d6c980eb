"""The bound of what a decoder makes of an upstream's JSON, beside that of its bytes."""

from __future__ import annotations

from operator_svc.peers.chat_types import AnswerError
from operator_svc.protocol.text import outside_texts, without_escapes

MAX_VALUES = 250_000
"""Values of a piece of JSON; objects and arrays, which take more, count twice.

A decoder holds the interpreter until it is done, on whichever thread: 50 to 130 ms for so many,
where 16 MiB of names take 800, and of empty objects 400 MB. A whole answer with the probabilities
of 10,000 tokens, five alternatives each, has as many.
"""


def check_values(data: bytes) -> None:
    """Raise AnswerError where ``data`` would be more than ``MAX_VALUES`` values."""
    if len(data) > MAX_VALUES and _values(data) > MAX_VALUES and _has_many(data):
        raise AnswerError(f"its answer has more than {MAX_VALUES:,} values", raw=data)


def _values(data: bytes) -> int:
    """Their number, but for one: all others have a comma behind them."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _has_many(data: bytes) -> bool:
    plain = without_escapes(data)
    # Each text has two marks, and a value at most two texts, one of them its name.
    return plain.count(b'"') > 4 * MAX_VALUES or _values(outside_texts(plain)) > MAX_VALUES
