"""Base of all stand-ins: the token, faults on request, counters.

Each answer has the header ``X-Stand-In``, so that nobody takes one for the real module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec
from aiohttp import web

from operator_svc.protocol import headers

VERSION = "stand-in"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CallMode = Literal[
    "ok", "500", "404", "status_error", "hang", "html", "broken_json", "wrong_shape", "big", "cut",
    "redirect",
]  # fmt: skip


class Calls(msgspec.Struct):
    """Faults of the plain calls (all but Switch's chat), for the next ``times`` of them."""

    mode: CallMode = "ok"
    path: str = ""
    """Prefix of the paths that are meant; empty means all."""
    delay: float = 0.0
    """Seconds before each answer."""
    times: int | None = None
    """Calls after which the faults end; None means never."""


def json_response(body: object, status: int = 200) -> web.Response:
    """``body`` as JSON."""
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )


class Standin:
    """Stand-in for one module of VX11; subclasses name it and add its calls."""

    name = ""
    open_paths: frozenset[str] = frozenset()
    """Paths that need no token."""

    def __init__(self, token: str = "") -> None:
        self.token = token
        self.calls = Calls()
        self.counts: dict[str, int] = {}
        self.last_headers: Mapping[str, str] = {}
        """Headers of the last call."""
        self.url = ""
        self._runner: web.AppRunner | None = None

    def routes(self) -> list[web.RouteDef]:
        """The module's own calls."""
        raise NotImplementedError

    def stats(self) -> dict[str, object]:
        """Counters, as ``GET /standin/stats`` answers them."""
        return {"standin": self.name, "counts": self.counts}

    def set_mode(self, wanted: dict[str, object]) -> None:
        """Set the faults; raises msgspec.ValidationError."""
        self.calls = msgspec.convert(wanted.get("calls", {}), Calls)

    def unauthorized(self, request: web.Request) -> web.Response | None:
        """The refusal of a call without the right token."""
        if not self.token or request.headers.get(headers.TOKEN) == self.token:
            return None
        return json_response({"detail": "auth_required"}, 401)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; returns the address."""
        app = web.Application(middlewares=[self._middleware], client_max_size=64 * 2**20)
        app.on_response_prepare.append(self._label)
        app.add_routes(
            [
                *self.routes(),
                web.post("/standin/mode", self._post_mode),
                web.get("/standin/stats", self._get_stats),
            ]
        )
        # Handlers are cancelled when their caller leaves, so that aborts can be counted.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, reuse_address=True, backlog=2048).start()
        bound = self._runner.addresses[0][1]
        self.url = f"http://{host}:{bound}"
        return self.url

    async def aclose(self) -> None:
        """Stop listening and cancel running handlers."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _label(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Stand-In"] = self.name

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path
        if path.startswith("/standin/"):
            return await handler(request)
        self.counts[path] = self.counts.get(path, 0) + 1
        self.last_headers = request.headers
        if path not in self.open_paths and (refusal := self.unauthorized(request)):
            return refusal
        calls = self.calls
        if self.is_chat(path) or not path.startswith(calls.path):
            return await handler(request)
        if calls.times is not None:
            if calls.times <= 0:
                return await handler(request)
            calls.times -= 1
        if calls.delay:
            await asyncio.sleep(calls.delay)
        return await self._misbehave(request, calls.mode) or await handler(request)

    def is_chat(self, path: str) -> bool:
        """True where ``path`` is a chat, which follows a script instead."""
        return False

    async def _misbehave(self, request: web.Request, mode: CallMode) -> web.StreamResponse | None:
        if mode == "500":
            return json_response({"detail": "[stand-in] told to fail"}, 500)
        if mode == "404":
            return json_response({"detail": "Not Found"}, 404)
        if mode == "status_error":
            return json_response({"status": "error", "detail": "[stand-in] told to refuse"})
        if mode == "hang":
            await asyncio.Event().wait()
        if mode == "html":
            return web.Response(text="<html>[stand-in]</html>", content_type="text/html")
        if mode == "broken_json":
            return web.Response(text='{"status": "ok", ', content_type="application/json")
        if mode == "wrong_shape":
            return json_response(["[stand-in]", {"status": 7}])
        if mode == "big":
            return json_response({"status": "ok", "pad": "x" * 10_000_000})
        if mode == "redirect":
            return web.Response(status=307, headers={"Location": request.path + "?again=1"})
        if mode == "cut":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"status": "o')
            cut(request)
            return response
        return None

    async def _post_mode(self, request: web.Request) -> web.Response:
        try:
            self.set_mode(msgspec.json.decode(await request.read(), type=dict[str, object]))
        except msgspec.DecodeError as error:
            return json_response({"detail": str(error)}, 422)
        return json_response({"status": "ok", "standin": self.name})

    async def _get_stats(self, _: web.Request) -> web.Response:
        return json_response(self.stats())


def cut(request: web.Request) -> None:
    """Close the connection in the middle of the answer."""
    if request.transport is not None:
        request.transport.close()
