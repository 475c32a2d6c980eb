"""Listening: the application's port, and the admin port where there is one."""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import ExitStack

import structlog
from aiohttp import web

from operator_svc.context import SERVICES
from operator_svc.errors import ConfigurationError
from operator_svc.rest.handlers import health
from operator_svc.rest.server.admin import AdminServer
from operator_svc.rest.server.admission import RESERVE, Limits
from operator_svc.rest.server.runner import Runner
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

BACKLOG = 4096
"""Connections that the kernel keeps for us while we are busy."""
ACCEPTS = 32
"""Connections that one turn of uvloop accepts; it takes one a turn from each handle of a socket,
so that in a rush of new clients a probe would wait for a turn each."""
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked for by name
"""Addresses by which this machine reaches a service that listens on all of its own."""
SPARE_FILES = 256 + 2 * ACCEPTS + RESERVE
"""File descriptors that are left for databases, peers, logs and probes."""


class Server:
    """Serves one application."""

    def __init__(self, app: web.Application, settings: Settings) -> None:
        self._settings = settings
        limits = Limits(_room(settings.connections), settings.address_share)
        self._runner = Runner(app, settings, limits, app[SERVICES].byte_budget)
        self._admin: AdminServer | None = None
        if settings.metrics_port:
            self._admin = AdminServer(settings, app[health.READINESS])

    async def start(self) -> str:
        """Listen; the URL that clients of this machine can use.

        Raises ConfigurationError where the address cannot be had.
        """
        settings = self._settings
        await self._runner.setup()
        if self._admin is not None:
            await self._admin.start(await _bound(settings.host, settings.metrics_port))
        port = await _listen(self._runner, settings.host, settings.port)
        host = LOOPBACK.get(settings.host, settings.host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening, let requests that are being answered end, and close connections. The
        admin port is the last one: the process is alive until then."""
        await self._runner.cleanup()
        if self._admin is not None:
            await self._admin.close()


async def _listen(runner: Runner, host: str, port: int) -> int:
    with ExitStack() as stack:
        sockets = [stack.enter_context(one) for one in await _bound(host, port)]
        for bound in sockets:
            for _ in range(ACCEPTS):
                await web.SockSite(runner, bound.dup(), backlog=BACKLOG).start()
        taken: int = sockets[0].getsockname()[1]
    return taken


async def _bound(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of ``host``; all of the machine's where it is empty.

    Raises ConfigurationError where the address cannot be had.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return [
            socket.create_server(address[:2], family=family, backlog=BACKLOG)
            for family, _, _, _, address in dict.fromkeys(found)
            if family != socket.AF_INET6 or socket.has_dualstack_ipv6()
        ]
    except OSError as error:
        raise ConfigurationError(
            [f"cannot listen on {host}:{port}: {error.strerror or error}"]
        ) from error


def _room(connections: int) -> int:
    """As many connections as wanted, or as the system lets this process have files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < connections + SPARE_FILES:
        wanted = connections + SPARE_FILES
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY or soft >= connections + SPARE_FILES:
        return connections
    room = max(soft - SPARE_FILES, 16)
    log.info("fewer connections than set: the limit of open files", connections=room)
    return room
