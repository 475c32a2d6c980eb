"""The events of a response's stream.

Source: https://www.openresponses.org/specification, and what OpenAI's SDKs read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from operator_svc.models import Json
from operator_svc.protocol import sse

TEXT_AT = 3
"""The sequence number of the event before the text: a delta has this and its end."""
PIECE = 32
"""Code points after which a text without white space is cut."""


def event(sequence_number: int, kind: str, **fields: Any) -> bytes:
    """An event of a stream, whole."""
    data = {"type": kind, "sequence_number": sequence_number, **fields}
    return sse.encode(msgspec.json.encode(data), event=kind)


_SPACE = re.compile(r"\s")


def pieces(text: str, at: int) -> Iterator[str]:
    """The pieces of a text that begins at a code point: each ends after a white space, or where
    the text has a multiple of ``PIECE`` code points. The last one may be the beginning of a piece.

    So a text is cut at the same places however much of it came at once.
    """
    start = 0
    while start < len(text):
        limit = min(start + PIECE - (at + start) % PIECE, len(text))
        found = _SPACE.search(text, start, limit)
        end = found.end() if found else limit
        yield text[start:end]
        start = end


def is_whole(piece: str, at: int) -> bool:
    """True where a piece that begins at a code point cannot grow."""
    return (at + len(piece)) % PIECE == 0 or piece[-1].isspace()


def call_events(
    items: Iterable[dict[str, Json]], output_index: int, sequence_number: int
) -> Iterator[tuple[int, str, dict[str, Json]]]:
    """The events that show function calls: their numbers, types and fields."""
    for item in items:
        place = {"output_index": output_index}
        about = {"item_id": item["id"], **place}
        begun = {**item, "arguments": "", "status": "in_progress"}
        arguments = item["arguments"]
        shown = (
            ("response.output_item.added", {**place, "item": begun}),
            ("response.function_call_arguments.delta", {**about, "delta": arguments}),
            (
                "response.function_call_arguments.done",
                {**about, "name": item["name"], "arguments": arguments},
            ),
            ("response.output_item.done", {**place, "item": item}),
        )
        for kind, fields in shown:
            yield sequence_number, kind, fields
            sequence_number += 1
        output_index += 1
