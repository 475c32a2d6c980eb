"""Answers of upstreams as bytes, and what a reader makes of them."""

from __future__ import annotations

import json
from typing import Any

from operator_svc.peers.answer_reader import AnswerReader
from operator_svc.peers.chat_types import (
    Part,
    Text,
)


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def read(reader: AnswerReader, *chunks: bytes) -> list[Part]:
    """All parts; the stream ends after the chunks unless the answer was done before."""
    parts: list[Part] = []
    for chunk in chunks:
        parts += reader.feed(chunk)
        if reader.done:
            return parts
    return parts + reader.end()


def text_of(parts: list[Part]) -> str:
    return "".join(part.content for part in parts if isinstance(part, Text))


def delta(*, finish: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return event(id="c", object="chat.completion.chunk", model="m-1", choices=[choice])
