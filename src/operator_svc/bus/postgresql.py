"""The bus over PostgreSQL: one LISTEN connection, and a transaction of notifications a tick."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Iterable, Iterator

import structlog

from operator_svc import db, telemetry
from operator_svc.background import TaskOwner
from operator_svc.bus.base import Bus
from operator_svc.bus.listeners import NotificationListener, PieceListener, ignore_piece
from operator_svc.errors import OperatorError
from operator_svc.models import Backend
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

CHANNEL = "operator_news"
PAYLOAD_BYTES = 7_900
"""PostgreSQL refuses a payload of 8,000 bytes or more."""
ANY = "*"
"""In place of ids: news in any session. Older versions send it where theirs do not fit."""
RECONNECT_PAUSE = 0.3
"""Seconds between attempts to listen again: others take a process without a session for dead, if
it does not renew its lease either."""
CHECK_INTERVAL = 10.0
"""Seconds between checks that the connection still lives."""


class PostgresqlBus(Bus):
    """Notifies the pods that share a database.

    A payload is the sender's id and then session ids; what does not fit goes into another one.
    """

    shared = True

    def __init__(self, settings: Settings) -> None:
        self._name = uuid.uuid4().hex[:12]
        self._waiting: set[str] = set()
        self._lost = asyncio.Event()
        self._tasks = TaskOwner("bus")
        self._listeners: tuple[NotificationListener, ...] = ()
        self._listener = db.listener(settings, (CHANNEL,), self._on_payload, self._lost.set)

    @property
    def backend(self) -> Backend | None:
        """See Bus.backend."""
        return self._listener.backend

    async def open(
        self, *listeners: NotificationListener, on_piece: PieceListener = ignore_piece
    ) -> None:
        """See Bus.open."""
        self._listeners = listeners
        await self._listener.open()
        self._tasks.start(self._stay_open(), "reconnect")

    def notify(self, session_id: str) -> None:
        """See Bus.notify."""
        self._waiting.add(session_id)

    async def flush(self) -> None:
        """See Bus.flush. What cannot be sent now is left to the other pods' polls."""
        if not self._waiting or not self._listener.is_open:
            self._waiting.clear()
            return
        ids, self._waiting = self._waiting, set()
        payloads = list(_payloads(self._name, ids))
        telemetry.BUS_NOTIFIES.inc(len(payloads))
        try:
            await self._listener.notify(CHANNEL, *payloads)
        except OperatorError as error:
            log.warning("other pods not notified", error=str(error.code))

    async def aclose(self) -> None:
        """See Bus.aclose."""
        await self.flush()
        await self._tasks.aclose()
        await self._listener.aclose()

    def _on_payload(self, _channel: str, payload: str) -> None:
        sender, *ids = payload.split(" ")
        if sender != self._name:
            self._tell_listeners(None if ANY in ids else ids)

    def _tell_listeners(self, session_ids: Collection[str] | None) -> None:
        for listener in self._listeners:
            listener(session_ids)

    async def _stay_open(self) -> None:
        while True:
            try:
                async with asyncio.timeout(CHECK_INTERVAL):
                    await self._lost.wait()
            except TimeoutError:
                await self._check()
                continue
            self._lost.clear()
            log.warning("connection for notifications lost")
            await self._reopen()
            self._tell_listeners(None)

    async def _check(self) -> None:
        try:
            await self._listener.check()
        except OperatorError:
            self._lost.set()

    async def _reopen(self) -> None:
        while not self._listener.is_open:
            try:
                await self._listener.open()
            except OperatorError:
                await asyncio.sleep(RECONNECT_PAUSE)
        log.info("notifications are received again")


def _payloads(sender: str, session_ids: Iterable[str]) -> Iterator[str]:
    """The payloads that name all these sessions."""
    payload, size = [sender], len(sender)
    for session_id in session_ids:
        more = 1 + len(session_id.encode())
        if size + more > PAYLOAD_BYTES:
            yield " ".join(payload)
            payload, size = [sender], len(sender)
        payload.append(session_id)
        size += more
    yield " ".join(payload)
