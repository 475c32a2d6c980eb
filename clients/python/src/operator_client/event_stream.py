"""Server-sent events (WHATWG HTML, section 9.2), as they come over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import msgspec


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One event: its data as text, its name, and the last id that the stream told."""

    data: str
    event: str = "message"
    id: str = ""

    def json(self) -> Any:
        """The data, decoded."""
        return msgspec.json.decode(self.data)


async def lines_of(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """The lines of a text, however it is cut into reads. A last one without its end is left out:
    it may have been cut."""
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        *lines, tail = rest.split(b"\n") if b"\n" in chunk else (rest,)
        for line in lines:
            yield line.removesuffix(b"\r").decode()
        if lines:
            rest = bytearray(tail)


async def events_of(chunks: AsyncIterable[bytes]) -> AsyncIterator[ServerSentEvent]:
    """The events of a stream."""
    name, last_id, data = "", "", list[str]()
    async for line in lines_of(chunks):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield ServerSentEvent("\n".join(data), name or "message", last_id)
            name, data = "", []
        elif field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id":
            last_id = value
