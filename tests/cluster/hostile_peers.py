"""Neighbours of the service that answer honest calls, and hostile ones as badly as they can.

    python -m tests.cluster.hostile_peers

A process of its own. It prints its port, and ends with its standard input. One server is Switch,
the browser service and whatever else is asked for; a chat says in its message what it is answered.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
from typing import Any

from aiohttp import web

from tests.cluster.attacker import bomb

LONG = 180_000
"""Characters of a long reply, just below the most that is kept."""
SCREENSHOT = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(3 * 2**20)).decode()
PROVIDER = "p" * 5000


def event(**fields: Any) -> bytes:
    """One event of Switch's stream."""
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


async def endless(response: web.StreamResponse, piece: bytes) -> None:
    """Say the same until the caller leaves, without keeping honest answers waiting."""
    while True:
        await response.write(piece)
        await asyncio.sleep(0.002)  # its pace


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer as the message says, honestly where it says nothing."""
    said = json.loads(await request.read())["messages"][0]["content"]
    if said.startswith("[[gzip]]"):
        kind = {"Content-Encoding": "gzip", "Content-Type": "text/event-stream"}
        return web.Response(body=bomb(), headers=kind)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        await say(response, said)
    return response


async def say(response: web.StreamResponse, said: str) -> None:
    """Say what the message asks for; raises ConnectionError where the caller has left."""
    if said.startswith("[[tools]]"):
        call = event(type="tool_call", id="x", name="t" * 1000, arguments={"x": "y" * 10_000})
        await endless(response, call)
    if said.startswith("[[words]]"):
        await endless(response, event(type="token", content="and on " * 100))
    if said.startswith("[[garbage]]"):
        await response.write(b"data: {]\n\n" * 1000 + b"\xff\xfe: \0\n\n")
        return
    if said.startswith("[[event]]"):
        await response.write(b'data: {"type": "token", "content": "')
        await endless(response, b"x" * 65536)
    long = said.startswith("[[long]]")
    for piece in ["word " * (LONG // 50)] * 10 if long else ["It ", "is ", "well."]:
        await response.write(event(type="token", content=piece))
    await response.write(event(type="done", provider=PROVIDER if long else "honest"))


async def navigate(request: web.Request) -> web.Response:
    """A page with a large screenshot and much text."""
    url = json.loads(await request.read())["url"]
    await asyncio.sleep(0.2)  # the time of a page
    return web.json_response({
        "status": "ok", "url": url, "final_url": url, "http_status": 200, "title": "t" * 10_000,
        "text": "x" * 100_000, "links": [{"url": url, "text": "y"}] * 100, "screenshot": SCREENSHOT,
        "script_result": None, "console": [], "error": None, "duration_ms": 200,
    })  # fmt: skip


async def anything(_: web.Request) -> web.Response:
    """An answer that says nothing."""
    return web.json_response({})


async def main() -> None:
    """Serve until the input ends."""
    app = web.Application(client_max_size=64 * 2**20)
    app.add_routes([web.post("/switch/chat", chat), web.post("/navigate", navigate),
                    web.route("*", "/{any:.*}", anything)])  # fmt: skip
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
