"""Listening: the application's port, and the admin port where there is one."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

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
LOOK_UP: dict[str, Any] = {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}
"""The kind of addresses to look up for a host that is listened on."""
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
        port = await _listen(self._runner, settings)
        host = LOOPBACK.get(settings.host, settings.host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening, let requests that are being answered end, and close connections. The
        admin port is the last one: the process is alive until then."""
        await self._runner.cleanup()
        if self._admin is not None:
            await self._admin.close()


def reserve(host: str, port: int) -> list[socket.socket]:
    """Hold ``port`` (0: a free one) of each address of ``host`` for workers, which listen on it.

    The sockets do not listen, so that the kernel gives them no connection. Raises
    ConfigurationError where the address cannot be had, also by another service of this user,
    which SO_REUSEPORT alone would let share the port.
    """
    held: list[socket.socket] = []
    with ExitStack() as stack, _address_wanted(host, port):
        for family, address in _addresses(socket.getaddrinfo(host or None, port, **LOOK_UP)):
            with socket.create_server((address[0], port), family=family) as alone:
                port = alone.getsockname()[1]
            one = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            # As create_server does it: connections of an earlier process are no obstacle.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address[0], port))
            # From here on nobody listens here without SO_REUSEPORT.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            held.append(one)
        stack.pop_all()
    return held


async def _listen(runner: Runner, settings: Settings) -> int:
    shared = settings.workers > 1
    with ExitStack() as stack:
        found = await _bound(settings.host, settings.port, shared=shared)
        sockets = [stack.enter_context(one) for one in found]
        for bound in sockets:
            for _ in range(ACCEPTS):
                await web.SockSite(runner, bound.dup(), backlog=BACKLOG).start()
        taken: int = sockets[0].getsockname()[1]
    return taken


async def _bound(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """A socket for each address of ``host``; all of the machine's where it is empty.

    ``shared`` lets other processes of this user listen on the same port (SO_REUSEPORT).
    Raises ConfigurationError where the address cannot be had.
    """
    with _address_wanted(host, port):
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, **LOOK_UP)
        return [
            socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=shared)
            for family, address in _addresses(found)
        ]


@contextmanager
def _address_wanted(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            [f"cannot listen on {host}:{port}: {error.strerror or error}"]
        ) from error


def _addresses(found: list[Any]) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    return [
        (family, address[:2])
        for family, _, _, _, address in dict.fromkeys(found)
        if family != socket.AF_INET6 or socket.has_dualstack_ipv6()
    ]


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
