"""A whole service over real sockets, with the stand-in for Switch behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import ClientResponse, ClientSession

from operator_svc import lifecycle
from operator_svc.devpeers import Script, SwitchStandin
from operator_svc.rest.server.listener import Server
from operator_svc.settings import Settings
from tests.fakes.running_service import RunningService
from tests.fakes.started import BROWSER_AWAY, LEASE_TTL, started

TOKEN = "token-of-the-tests"
QUICK = Script(rate=0)
GRACE = 0.4
"""Seconds after which a call under ``/v1`` whose caller has left is cancelled."""
PRIVATE = [
    ("POST", "/operator/chat"),
    ("GET", "/operator/sessions"),
    ("GET", "/operator/session/s"),
    ("DELETE", "/operator/session/s"),
    ("GET", "/operator/session/s/export"),
    ("GET", "/operator/session/s/events"),
    ("GET", "/operator/reply/1"),
    ("POST", "/operator/reply/1/cancel"),
]
"""Calls that need a token, one of each kind."""


class Service(RunningService[SwitchStandin]):
    """A running service, and a client of it that brings the token."""

    async def call(self, method: str, path: str, **kwargs: Any) -> ClientResponse:
        """One request; its body has been read. ``token=None`` brings none."""
        headers = dict(kwargs.pop("headers", {}))
        token = kwargs.pop("token", TOKEN)
        if token is not None:
            headers.setdefault("X-VX11-Token", token)
        async with self.session.request(
            method, self.url + path, headers=headers, allow_redirects=False, **kwargs
        ) as response:
            await response.read()
            return response

    async def get(self, path: str, **kwargs: Any) -> ClientResponse:
        """A GET."""
        return await self.call("GET", path, **kwargs)

    async def post(self, path: str, body: Any = None, **kwargs: Any) -> ClientResponse:
        """A POST of JSON."""
        if body is not None:
            kwargs["json"] = body
        return await self.call("POST", path, **kwargs)

    async def chat(self, message: str = "hello", **fields: Any) -> dict[str, Any]:
        """A chat that is answered; the answer's body."""
        response = await self.post("/operator/chat", {"message": message, **fields})
        assert response.status == 200, await response.text()
        body: dict[str, Any] = await response.json()
        return body


@asynccontextmanager
async def running(database_url: str, **settings: Any) -> AsyncIterator[Service]:
    """A service with these settings, by attribute."""
    async with AsyncExitStack() as stack:
        switch = SwitchStandin(TOKEN, QUICK)
        stack.push_async_callback(switch.aclose)
        await switch.start("127.0.0.1", 0)
        defaults = {
            "host": "127.0.0.1",
            "port": 0,
            "database_url": database_url,
            "token": TOKEN,
            "switch_url": switch.url,
            "browser_url": BROWSER_AWAY,
            "lease_ttl": LEASE_TTL,
            "switch_connect_timeout": 2.0,
            "switch_first_byte_timeout": 5.0,
            "switch_idle_timeout": 5.0,
            "chat_rate": 0,
            "disconnect_grace": GRACE,
        }
        configured = Settings(**{**defaults, **settings})
        operator = await started(configured)
        stack.push_async_callback(lifecycle.close, operator)
        server = Server(operator.application(), configured)
        stack.push_async_callback(server.close)
        url = await server.start()
        session = await stack.enter_async_context(ClientSession())
        yield Service(operator, switch, url, session)
