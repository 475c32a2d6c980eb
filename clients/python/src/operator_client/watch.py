"""The events of a session, as an asynchronous iterator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any, Self, TypeAlias

import msgspec

from operator_client.errors import ClientError
from operator_client.models import EVENT_DATA, Delta, EventData, Resync, Snapshot
from operator_client.session_socket import SESSION_DELETED, SessionSocket


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A durable event. ``data`` is one of the structs of ``EventData``, or a dict where Operator is
    newer than this client. ``session.deleted`` has no ``seq``: it is the last one."""

    event: str
    session_id: str
    ts: datetime
    data: EventData | dict[str, Any]
    seq: int | None = None


Watched: TypeAlias = Event | Resync | Delta | Snapshot
TEXTS: dict[str, type[Delta] | type[Snapshot]] = {"delta": Delta, "reply.snapshot": Snapshot}


class Watch:
    """The events of a session. It comes back by itself and goes on where it was, without a gap and
    without a repetition; where too much was missed for that, a ``Resync`` brings the state instead.

    It keeps nothing of what it has given. It ends with ``session.deleted``, and raises ClientError
    where Operator cannot be reached at first or says not to come back. Leave a loop early inside
    ``async with``, which closes the connection at once.
    """

    def __init__(self, socket: SessionSocket, *, deltas: bool) -> None:
        self._socket = socket
        self._deltas = deltas
        self._items = self._watched()

    @property
    def seq(self) -> int | None:
        """The ``after`` of a later watch that is to go on here; None before it has connected."""
        return self._socket.seq

    @property
    def epoch(self) -> str | None:
        """The ``epoch`` of a later watch that is to go on here."""
        return self._socket.epoch

    def __aiter__(self) -> AsyncIterator[Watched]:
        return self._items

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._items.aclose()

    async def _watched(self) -> AsyncGenerator[Watched, None]:
        try:
            async with aclosing(self._socket.frames()) as frames:
                async for frame in frames:
                    item = self._item(frame)
                    if item is not None:
                        yield item
        except ClientError as error:
            if error.status != SESSION_DELETED:
                raise

    def _item(self, frame: dict[str, Any]) -> Watched | None:
        kind = frame["type"]
        if kind == "event":
            return _event(frame)
        if kind == "resync":
            return msgspec.convert(frame, Resync)
        if self._deltas and kind in TEXTS:
            return msgspec.convert(frame, TEXTS[kind])
        return None


def _event(frame: dict[str, Any]) -> Event:
    known = EVENT_DATA.get(frame["event"])
    data = frame["data"] if known is None else msgspec.convert(frame["data"], known)
    return Event(
        event=frame["event"],
        session_id=frame["session_id"],
        ts=msgspec.convert(frame["ts"], datetime),
        data=data,
        seq=frame.get("seq"),
    )
