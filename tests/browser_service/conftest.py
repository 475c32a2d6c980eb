"""A warm browser service for each module of tests, a site that it may open, and a canary that
it must never reach.

All of it is on this machine. The site has the name ``pages.test``, which only the service's
resolver knows and ``BROWSER_ALLOW`` opens; loopback itself stays closed.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from operator_svc.browser_service.server import make_app
from operator_svc.browser_service.service import BrowserService
from operator_svc.settings import BrowserSettings

TOKEN = "the-token"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Navigate = Callable[..., Awaitable[dict[str, Any]]]


class Names:
    """A resolver with a table: each lookup of a name takes the next of its answers."""

    def __init__(self) -> None:
        self._answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def __setitem__(self, name: str, answers: list[list[str]]) -> None:
        self._answers[name] = answers

    async def __call__(self, name: str) -> list[str]:
        self.asked.append(name)
        answers = self._answers.get(name)
        if not answers:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Site:
    """A web server whose pages the tests make up as they go."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._numbers = itertools.count(1)
        self._handlers: dict[str, Handler] = {}
        self._runner: web.ServerRunner | None = None
        self.port = 0
        self.seen: list[str] = []
        self.hold = asyncio.Event()
        """Handlers of slow pages wait for it; it is set when the site closes."""

    async def start(self, address: str = "127.0.0.1") -> None:
        self._runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, address, 0).start()
        self.port = self._runner.addresses[0][1]

    async def aclose(self) -> None:
        self.hold.set()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def base(self) -> str:
        return f"http://{self._host}:{self.port}"

    def on(self, handler: Handler, path: str = "") -> str:
        """Let ``handler`` serve a path; returns its whole address."""
        path = path or f"/{next(self._numbers)}"
        self._handlers[path] = handler
        return self.base + path

    def page(
        self,
        body: str | bytes,
        kind: str = "text/html; charset=utf-8",
        status: int = 200,
        path: str = "",
        **headers: str,
    ) -> str:
        """Serve ``body``; returns its address. Underscores in header names become hyphens."""
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def serve(request: web.Request) -> web.Response:
            return web.Response(body=data, status=status, headers={"Content-Type": kind, **named})

        return self.on(serve, path)

    def redirect(self, to: str, status: int = 302) -> str:
        """Serve a redirect to ``to``."""
        return self.page("", status=status, Location=to)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request.path)
        handler = self._handlers.get(request.path)
        if handler is None:
            return web.Response(status=404, text="there is nothing here")
        return await handler(request)  # type: ignore[arg-type]


class Canary:
    """Listens on loopback, TCP and UDP, and remembers whoever comes."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        self.port = 0
        self._servers: list[asyncio.Server] = []
        self._udp: list[asyncio.DatagramTransport] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for address in ("127.0.0.1", "::1"):
            server = await asyncio.start_server(self._visited, address, self.port)
            self._servers.append(server)
            self.port = server.sockets[0].getsockname()[1]
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self.visits), (address, self.port)
            )
            self._udp.append(transport)

    async def aclose(self) -> None:
        for server in self._servers:
            server.close()
        for transport in self._udp:
            transport.close()

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits.append("tcp")
        body = b"the canary's secret"
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nAccess-Control-Allow-Origin: *\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, visits: list[str]) -> None:
        self._visits = visits

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._visits.append("udp")


def settings(**changes: Any) -> BrowserSettings:
    """The settings of a service under test."""
    return BrowserSettings(**{"token": TOKEN, "allow": "pages.test:*", "port": 0, **changes})


@pytest.fixture(scope="module")
def browser_settings() -> BrowserSettings:
    """The settings of the module's service; a module may have its own."""
    return settings()


@pytest.fixture(scope="module")
def chromium_flags() -> tuple[str, ...]:
    """More flags for the module's Chromium."""
    return ()


@pytest.fixture(scope="module")
def names() -> Names:
    """The resolver of the module's service."""
    table = Names()
    table["pages.test"] = [["127.0.0.1"]]
    return table


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """The site that the service may open."""
    opened = Site("pages.test")
    await opened.start()
    yield opened
    await opened.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def canary() -> AsyncIterator[Canary]:
    """Addresses that nobody may reach."""
    bird = Canary()
    await bird.start()
    yield bird
    await bird.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def decoy() -> AsyncIterator[Canary]:
    """A canary for one test that means to reach it."""
    bird = Canary()
    await bird.start()
    yield bird
    await bird.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    browser_settings: BrowserSettings, names: Names, chromium_flags: tuple[str, ...]
) -> AsyncIterator[BrowserService]:
    """The module's service, with Chromium running."""
    started = BrowserService(browser_settings, resolver=names, flags=chromium_flags)
    await started.start()
    yield started
    await started.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    service: BrowserService, browser_settings: BrowserSettings
) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A client of the module's service."""
    server = TestServer(make_app(browser_settings, service), handler_cancellation=True)
    async with TestClient(server) as opened:
        yield opened


@pytest.fixture(scope="module")
def navigate(client: TestClient[web.Request, web.Application]) -> Navigate:
    """Posts to /navigate and gives the answer, which must be 200."""

    async def post(url: str, **fields: Any) -> dict[str, Any]:
        async with client.post(
            "/navigate", json={"url": url, **fields}, headers={"X-VX11-Token": TOKEN}
        ) as response:
            body = await response.json()
            assert response.status == 200, body
            assert isinstance(body, dict)
            return body

    return post
