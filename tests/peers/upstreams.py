"""Upstreams that give prepared answers, and what they were sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.fakes.raw import Connection, RawServer, raw_server

VX11 = b'{"status": "ok", "reply": "fine", "provider": "p"}'

OPENAI = b'{"choices": [{"message": {"content": "fine"}}], "data": [{"id": "m"}]}'

ANSWERS = {"vx11": VX11, "openai": OPENAI}


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[RawServer]:
    """A server that gives these answers, the last one for ever; ``400 …`` is a refusal."""
    left = list(answers)

    async def behaviour(client: Connection) -> None:
        while True:
            await client.request()
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer[:3].isdigit():
                head = b"HTTP/1.1 %s Bad\r\nContent-Type: application/json\r\nContent-Length: %d"
                await client.send(head % (answer[:3], len(answer[4:])) + b"\r\n\r\n" + answer[4:])
            else:
                await client.json(answer)

    async with raw_server(behaviour) as server:
        yield server


def sent(request: bytes) -> tuple[str, dict[str, str], dict[str, Any]]:
    """The target, the headers (names in lower case) and the body of a request."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    assert len(headers) == len(lines), "a header was sent twice"
    return first.split()[1], headers, json.loads(body) if body else {}
