"""A browser service that opens nothing: a page for every address, after what its path asks for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

TOKEN = "token-of-the-browser"
PNG = b"\x89PNG\r\n\x1a\npixels"


class Browsing:
    """Answers ``/navigate``; addresses with ``hold`` in them wait for that event."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.left: list[str] = []
        self.hold = asyncio.Event()

    async def navigate(self, request: web.Request) -> web.Response:
        assert request.headers["X-VX11-Token"] == TOKEN
        body = await request.json()
        self.asked.append(body)
        url = body["url"]
        if "hold" in url:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.left.append(url)
                raise
        visit = {
            "status": "blocked" if "blocked" in url else "ok",
            "url": url,
            "final_url": url + "#end",
            "http_status": 200,
            "title": "A page",
            "text": "words " * 1000,
            "links": [],
            "screenshot": None if "blank" in url else base64.b64encode(PNG).decode(),
            "script_result": 2,
            "console": [],
            "error": "it is private" if "blocked" in url else None,
            "duration_ms": 7,
        }
        return web.json_response(visit)


@asynccontextmanager
async def browsing_at(port: int = 0) -> AsyncIterator[Browsing]:
    """One that runs, for the time of the block."""
    made = Browsing()
    app = web.Application()
    app.router.add_post("/navigate", made.navigate)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        made.hold.set()
        await runner.cleanup()
