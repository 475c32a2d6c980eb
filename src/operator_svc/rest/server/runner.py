"""An application behind a guarded server."""

from __future__ import annotations

from aiohttp import web
from aiohttp.web_server import Server as AiohttpServer

from operator_svc.rest.server.admission import Admission, Limits
from operator_svc.rest.server.connections import KEEPALIVE, GuardedServer
from operator_svc.rest.server.path_prefix import without_prefix
from operator_svc.services.byte_budget import ByteBudget
from operator_svc.settings import Settings

MAX_LINE, MAX_FIELD, MAX_HEADERS = 8190, 8190, 100
"""Bytes of a request line and of a header, and number of headers."""
LINGER = 1.0
"""Seconds that a refused body is still read and dropped: closing at once would reset the
connection, and the client would lose the answer."""


class Runner(web.AppRunner):
    """An application behind a guarded server, with places of its own."""

    def __init__(
        self, app: web.Application, settings: Settings, limits: Limits, budget: ByteBudget
    ) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=5.0,
            keepalive_timeout=KEEPALIVE,
            lingering_time=LINGER,
            auto_decompress=False,
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_HEADERS,
        )
        self._settings = settings
        self._limits = limits
        self._budget = budget

    async def _make_server(self) -> AiohttpServer:
        plain = await super()._make_server()
        factory, prefix = plain.request_factory, self._settings.path_prefix
        return GuardedServer(
            plain.request_handler,
            request_factory=without_prefix(factory, self.app, prefix) if prefix else factory,
            loop=plain._loop,
            settings=self._settings,
            admission=Admission(self._limits, self._budget),
            **plain._kwargs,
        )
