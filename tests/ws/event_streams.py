"""Event streams of a chat and of a session, read by a test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientResponse

from operator_svc.protocol import sse
from tests.fakes.client_view import ClientView, Frame
from tests.ws.ws_service import PATIENCE, TOKEN, Service

HEADERS = {"X-VX11-Token": TOKEN}


EVENTS = {"Accept": "text/event-stream"}


class Stream:
    """An event stream as an EventSource reads it."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.view = ClientView()
        self.frames: list[Frame] = []
        self.comments = 0
        self.last_id = ""
        self.ended = False
        self._decoder = sse.Decoder(2**22)

    async def read(self) -> None:
        """Take the frames of the next read."""
        async with asyncio.timeout(PATIENCE):
            chunk = await self.response.content.readany()
        if not chunk:
            self.ended = True
        self.comments += chunk.count(b": ping\n")
        for event in self._decoder.feed(chunk):
            frame = json.loads(event.data)
            self.frames.append(frame)
            self.view.take(frame)
            self.last_id = event.id
            if frame["type"] == "event" and "seq" in frame:
                assert event.id == str(frame["seq"])

    async def until(self, what: Any) -> None:
        """Read until ``what`` is true."""
        while not what():
            assert not self.ended, f"it ended; got {str(self.frames)[:2000]}"
            await self.read()

    async def to_the_end(self) -> None:
        """Read until the stream ends."""
        while not self.ended:
            await self.read()

    def kinds(self) -> list[Any]:
        return [f.get("event", f["type"]) for f in self.frames]


@asynccontextmanager
async def chatting(service: Service, body: Frame, **headers: str) -> AsyncIterator[Stream]:
    async with service.session.post(
        f"{service.url}/operator/chat", json=body, headers=HEADERS | headers
    ) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        stream = Stream(response)
        yield stream


@asynccontextmanager
async def subscriptions(service: Service, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with service.session.get(
        f"{service.url}/operator/session/s/events{query}", headers=HEADERS | EVENTS | headers
    ) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        stream = Stream(response)
        await stream.until(lambda: stream.frames)
        assert stream.frames[0]["type"] == "ready"
        yield stream


def shown(stream: Stream, reply_id: int) -> str:
    return stream.view.texts.get(reply_id, "")
