"""Stand-in for Tentáculo Link, the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from operator_svc.devpeers.standin import VERSION, Standin, json_response
from operator_svc.protocol import headers

PORTS = {
    "tentaculo_link": 8000,
    "madre": 8001,
    "switch": 8002,
    "hermes": 8003,
    "hormiguero": 8004,
    "manifestator": 8005,
    "mcp": 8006,
    "shub": 8007,
    "spawner": 8008,
    "operator-backend": 8011,
}
CLIENTS = [name for name in PORTS if name not in ("tentaculo_link", "manifestator")]
"""The modules that the real gateway has a client for, and names."""
ASK_TIMEOUT = 2.0


class TentaculoLinkStandin(Standin):
    """The gateway. It asks ``modules`` (addresses by name) for their health, one after another
    as the real one does, and reports modules without an address as failed.
    """

    name = "tentaculo_link"
    open_paths = frozenset({"/vx11/status", "/health"})

    def __init__(self, token: str = "", modules: Mapping[str, str] | None = None) -> None:
        super().__init__(token)
        self.modules = dict(modules or {})
        self.circuit_open: set[str] = set()
        """Modules that it reports so, without asking them."""

    def routes(self) -> list[web.RouteDef]:
        """The system's status, and health."""
        return [web.get("/vx11/status", self._status), web.get("/health", self._health)]

    async def _status(self, _: web.Request) -> web.Response:
        modules = {name: await self._ask(name) for name in CLIENTS}
        healthy = sum(body.get("status") == "ok" for body in modules.values())
        return json_response(
            {
                "ok": True,
                "status": "ok",
                "module": "tentaculo_link",
                "version": VERSION,
                "timestamp": datetime.now(UTC).replace(tzinfo=None).isoformat(),
                "ports": PORTS,
                "modules": modules,
                "summary": {
                    "healthy_modules": healthy,
                    "total_modules": len(modules),
                    "all_healthy": healthy == len(modules),
                },
            }
        )

    async def _ask(self, name: str) -> dict[str, Any]:
        if name in self.circuit_open:
            return {"status": "circuit_open", "module": name}
        url = self.modules.get(name)
        try:
            if url is None:
                raise OSError("[stand-in] not running")
            async with asyncio.timeout(ASK_TIMEOUT):
                return await _health_of(url, self.token)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            return {"status": "error", "module": name, "error": str(error) or "timeout"}

    async def _health(self, _: web.Request) -> web.Response:
        return json_response({"status": "ok", "module": "tentaculo_link", "version": VERSION})


async def _health_of(url: str, token: str) -> dict[str, Any]:
    """A module's health, asked in plain HTTP/1.0."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        head = f"GET /health HTTP/1.0\r\nHost: {where.netloc}\r\n{headers.TOKEN}: {token}\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        answer = await reader.read(65536)
        while more := await reader.read(65536):
            answer += more
    finally:
        writer.close()
    return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2], type=dict[str, Any])
