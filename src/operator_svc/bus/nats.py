"""The bus over NATS: news and text of each session at once, on the subject of its hash."""

from __future__ import annotations

import zlib

import msgspec
import structlog

from operator_svc import telemetry
from operator_svc.bus.base import Bus
from operator_svc.bus.listeners import (
    NotificationListener,
    PieceListener,
    ReplyPiece,
    ignore_piece,
)
from operator_svc.bus.nats_connection import NatsConnection
from operator_svc.models import Backend
from operator_svc.settings import Settings

SUBJECTS = 2**20
"""Subjects of all sessions: so many that a process hears little of others' sessions, and a fixed
number, so that the servers' tables of who wants what are bounded."""
PREFIX = "operator.session."

log = structlog.get_logger(__name__)

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""Failures of a message that is none."""


class NewsMessage(msgspec.Struct, frozen=True, array_like=True, tag="news"):
    """A session has news."""

    session_id: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(NewsMessage | ReplyPiece).decode


def subject_of(session_id: str) -> str:
    """The subject of a session, the same in all processes."""
    return f"{PREFIX}{zlib.crc32(session_id.encode()) % SUBJECTS}"


class NatsBus(Bus):
    """Sends by NATS while it is there, and else by ``fallback``, which is always listened to.

    A process that alone has lost NATS hears others by the polls of ``SessionHub``. Whoever may
    write to these subjects can make others read, and show text until a reply ends.
    """

    shared = True
    carries_text = True

    def __init__(self, settings: Settings, fallback: Bus) -> None:
        self._fallback = fallback
        self._listeners: tuple[NotificationListener, ...] = ()
        self._on_piece: PieceListener = ignore_piece
        self._connection = NatsConnection(settings, self._on_message, self._on_open)

    @property
    def backend(self) -> Backend | None:
        """See Bus.backend."""
        return self._fallback.backend

    @property
    def degraded(self) -> bool:
        """See Bus.degraded."""
        return not self._connection.is_open

    async def open(
        self, *listeners: NotificationListener, on_piece: PieceListener = ignore_piece
    ) -> None:
        """See Bus.open."""
        self._listeners, self._on_piece = listeners, on_piece
        await self._fallback.open(*listeners)
        self._connection.start()

    def subscribe(self, session_id: str) -> None:
        """See Bus.subscribe."""
        self._connection.subscribe(subject_of(session_id))

    def unsubscribe(self, session_id: str) -> None:
        """See Bus.unsubscribe."""
        self._connection.unsubscribe(subject_of(session_id))

    def notify(self, session_id: str) -> None:
        """See Bus.notify."""
        if self._connection.send(subject_of(session_id), _encode(NewsMessage(session_id))):
            telemetry.BUS_NOTIFIES.inc()
        else:
            self._fallback.notify(session_id)

    def send_piece(self, piece: ReplyPiece) -> bool:
        """See Bus.send_piece."""
        return self._connection.send(subject_of(piece.session_id), _encode(piece))

    async def flush(self) -> None:
        """See Bus.flush."""
        await self._fallback.flush()

    async def aclose(self) -> None:
        """See Bus.aclose."""
        await self._connection.aclose()
        await self._fallback.aclose()

    def _on_message(self, data: bytes) -> None:
        try:
            message = _decode(data)
        except UNREADABLE as error:  # of another version, or of a stranger
            log.debug("a message that is none of ours", error=str(error))
            return
        if isinstance(message, ReplyPiece):
            self._on_piece(message)
            return
        for listener in self._listeners:
            listener((message.session_id,))

    def _on_open(self) -> None:
        for listener in self._listeners:
            listener(None)
