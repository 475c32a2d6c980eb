"""A connection to one of several servers of NATS, which comes back by itself."""

from __future__ import annotations

import asyncio
import base64
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from operator_svc import telemetry
from operator_svc.background import TaskOwner
from operator_svc.nats_settings import (
    NatsServer,
    nats_credentials,
    nats_servers,
    tls_context,
)
from operator_svc.settings import Settings

CONNECT_SECONDS = 3.0
"""Longest wait for a server, until the next one is tried."""
RECONNECT_PAUSE = 0.3
"""Seconds between attempts."""
PING_INTERVAL, PINGS = 1, 2
"""Seconds between pings, and how many may be unanswered: a server that is silent is left."""
CHECK_INTERVAL = 0.5
"""Seconds between looks at a connection that nobody uses."""
CLOSE_SECONDS = 1.0
"""Longest wait for a connection's end."""
QUEUED_BYTES = 4 * 2**20
"""Bytes that wait for the server at most; more are not sent, and read from the database."""
UNREAD_MESSAGES, UNREAD_BYTES = 4096, 2**20
"""Messages of one subject, and bytes of them, that wait to be read at most; more are dropped."""

log = structlog.get_logger(__name__)


class NatsConnection:
    """Sends and receives while there is a server, and says when there is one again.

    What is sent without one is lost, and so may be whatever was under way when a connection ends.
    The library's own reconnecting would send late what it kept meanwhile.
    """

    def __init__(
        self, settings: Settings, on_message: Callable[[bytes], None], on_open: Callable[[], None]
    ) -> None:
        servers = nats_servers(settings.bus_url)
        self._servers = random.sample(servers, len(servers))
        self._credentials = (
            nats_credentials(settings.bus_credentials) if settings.bus_credentials else None
        )
        self._tls_files = (settings.bus_ca, settings.bus_cert, settings.bus_key)
        self._on_message = on_message
        self._on_open = on_open
        self._client: Client | None = None
        self._wanted: Counter[str] = Counter()
        self._changed: set[str] = set()
        self._subscriptions: dict[str, Subscription] = {}
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._away = False
        self._tasks = TaskOwner("nats")
        self._keeper: asyncio.Task[None] | None = None
        self._up = telemetry.BUS_CONNECTED.labels("nats")
        self._up.set(0)

    @property
    def is_open(self) -> bool:
        """True while there is a server that knows what is subscribed."""
        return self._client is not None and self._client.is_connected

    def start(self) -> None:
        """Begin to connect. To be called in the running loop."""
        self._keeper = self._tasks.start(self._keep_open(), "connection")

    def subscribe(self, subject: str) -> None:
        """Receive a subject's messages, until ``unsubscribe`` was called as often."""
        self._wanted[subject] += 1
        self._change(subject)

    def unsubscribe(self, subject: str) -> None:
        """Receive them no more."""
        self._wanted[subject] -= 1
        if not self._wanted[subject]:
            del self._wanted[subject]
        self._change(subject)

    def _change(self, subject: str) -> None:
        if (subject in self._wanted) != (subject in self._subscriptions):
            self._changed.add(subject)
            self._wake.set()

    def send(self, subject: str, data: bytes) -> bool:
        """Send a message soon; False where it cannot be sent."""
        if not self.is_open or self._queued + len(data) > QUEUED_BYTES:
            return False
        self._outgoing.append((subject, data))
        self._queued += len(data)
        self._wake.set()
        return True

    async def aclose(self) -> None:
        """Send what is left, and end."""
        self._closing = True
        self._wake.set()
        if self._keeper is not None:
            await asyncio.wait([self._keeper], timeout=CLOSE_SECONDS)
        await self._tasks.aclose()

    async def _keep_open(self) -> None:
        for server in itertools.cycle(self._servers):
            # The library swallows a cancellation now and then.
            if self._closing:
                return
            try:
                await self._serve(server)
            except Exception as error:  # of any kind: without a server all goes on, but later
                self._lose(repr(error))
            else:
                self._lose("the connection was lost")
            await asyncio.sleep(RECONNECT_PAUSE)

    def _lose(self, reason: str) -> None:
        if not self._away and not self._closing:
            self._away = True
            log.warning("NATS is away", reason=reason)

    async def _serve(self, server: NatsServer) -> None:
        """Connect to a server, and send what there is until the connection ends."""
        client = _Client(server)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.connect(**self._options(server))
                self._changed.update(self._wanted)
                await self._update_subscriptions(client)
                await client.flush()
            self._begin(client, server)
            while client.is_connected and not self._closing:
                await self._wait()
                await self._update_subscriptions(client)
                await self._send(client)
            await self._send(client)
            await _flush(client)
        finally:
            self._client = None
            self._up.set(0)
            self._subscriptions.clear()
            self._outgoing.clear()
            self._queued = 0
            await _close(client)

    def _begin(self, client: Client, server: NatsServer) -> None:
        self._client = client
        self._away = False
        self._up.set(1)
        log.info("connected to NATS", server=server.url)
        self._on_open()

    async def _wait(self) -> None:
        """Wait until there is something to do, or for a moment."""
        try:
            async with asyncio.timeout(CHECK_INTERVAL):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _update_subscriptions(self, client: Client) -> None:
        while self._changed:
            subject = self._changed.pop()
            if subject not in self._wanted:
                if (subscription := self._subscriptions.pop(subject, None)) is not None:
                    await subscription.unsubscribe()
            elif subject not in self._subscriptions:
                self._subscriptions[subject] = await client.subscribe(
                    subject,
                    cb=self._receive,
                    pending_msgs_limit=UNREAD_MESSAGES,
                    pending_bytes_limit=UNREAD_BYTES,
                )

    async def _receive(self, message: Msg) -> None:
        self._on_message(message.data)

    async def _send(self, client: Client) -> None:
        while self._outgoing and client.is_connected:
            subject, data = self._outgoing.popleft()
            self._queued -= len(data)
            await client.publish(subject, data)

    def _options(self, server: NatsServer) -> dict[str, Any]:
        async def note(error: Exception) -> None:
            log.debug("an error of NATS", error=repr(error))
            self._wake.set()

        async def woken() -> None:
            self._wake.set()

        options: dict[str, Any] = {
            "servers": server.url,
            "name": "operator-svc",
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0,
            "connect_timeout": CONNECT_SECONDS,
            "ping_interval": PING_INTERVAL,
            "max_outstanding_pings": PINGS,
            "flush_timeout": CHECK_INTERVAL,
            "no_echo": True,
            "tls": tls_context(*self._tls_files),  # anew: certificates are renewed
            "user": server.user,
            "password": server.password,
            "token": server.token,
            "error_cb": note,
            "disconnected_cb": woken,
        }
        if (own := self._credentials) is not None:
            options["user_jwt_cb"] = own.jwt.encode
            options["signature_cb"] = _signer(own.seed)
        return options


class _Client(Client):
    """The library's client, which tells nothing in clear to a server that should use TLS, and ends
    whole when its connection is lost."""

    def __init__(self, server: NatsServer) -> None:
        super().__init__()
        self._must_use_tls = server.tls

    def _connect_command(self) -> bytes:
        if self._must_use_tls and not self._server_info.get("tls_required"):
            raise nats.errors.Error("the server does not use TLS")
        return super()._connect_command()

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        # The library would try to write it, fail, and leave the tasks of its subscriptions behind.
        self._pending.clear()
        self._pending_data_size = 0
        await super()._close(status, do_cbs)


def _signer(seed: bytes) -> Callable[[str], bytes]:
    """The function that signs the nonce of a server with the key of this seed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(seed)
    return lambda nonce: base64.b64encode(key.sign(nonce.encode()))


async def _flush(client: Client) -> None:
    """Wait until the server has what was sent, if it still answers."""
    if client.is_connected:
        async with asyncio.timeout(CHECK_INTERVAL):
            await client.flush()


async def _close(client: Client) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()
    except Exception as error:  # whatever it was, nothing is expected of it any more
        log.debug("a connection was cut", error=repr(error))
