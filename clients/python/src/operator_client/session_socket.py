"""The frames of one session, over a websocket that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

import aiohttp
import msgspec

from operator_client.connection import LONGEST_PAUSE, ClientConnection, jitter, segment
from operator_client.errors import ClientError, retry_after
from operator_client.models import CLOSE_REASONS

SUBPROTOCOL = "operator.v1"
PAUSE = 0.25
PAUSE_MAX = 5.0
"""Seconds between attempts to reconnect: the first, and the longest."""
PAUSE_FULL = 2.0
"""Seconds before the first attempt where the server asks to come back more slowly."""
STATE_CHANGED = 4003
MORE_SLOWLY = frozenset({4005, 4007})
"""Close codes of a client that sent too much, and of a process that is full."""
FORBIDDEN = 4501
SESSION_DELETED = 4504
FINAL = 4500
"""Close codes from here on say not to reconnect."""
OPEN_TIMEOUT = 10.0
"""Seconds after which a connection is given up whose opening nobody answers."""
CLOSE_TIMEOUT = 1.0
"""Seconds that a close waits for its answer."""
QUIET = 10.0
"""Seconds beyond two heartbeats after which a silent connection counts as lost."""


def _nothing() -> None:
    """Take a change that nobody asks for."""


class SessionSocket:
    """A websocket to one session. ``seq`` and ``epoch`` say up to where its events have come, and
    where it goes on when it has been lost: None begins with what happens from now on.

    ``on_reconnect`` is called before each attempt to connect again.
    """

    def __init__(
        self,
        connection: ClientConnection,
        session_id: str,
        after: int | None = None,
        epoch: str | None = None,
        on_reconnect: Callable[[], None] = _nothing,
    ) -> None:
        self.session_id = session_id
        self.seq = after
        self.epoch = epoch
        self._connection = connection
        self._on_reconnect = on_reconnect
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._silence = 60.0
        self._pause = PAUSE
        self._asked_pause: float | None = None
        self._header: dict[str, str] = {}

    async def frames(self) -> AsyncGenerator[dict[str, Any], None]:
        """The frames of the server, as they come, over as many connections as it takes.

        Raises ClientError where Operator cannot be reached at first, and where it says not to come
        back.
        """
        known = renewed = False
        while True:
            code: int | None = None
            try:
                async with await self._open() as socket:
                    while (frame := await self._receive(socket)) is not None:
                        known, renewed = True, False
                        yield frame
                    if (socket.close_code or 0) >= FINAL:
                        raise _closed(socket.close_code or 0)
                    if self._socket is not None:  # it was let in
                        code = socket.close_code or 0
            except ClientError as error:
                if renewed or not await self._token_is_another(error):
                    raise
                renewed = True
                continue
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not known:
                    raise self._connection.unreachable(error) from error
                self._heed(error)
            finally:
                self._socket = None
            self._on_reconnect()
            await self._wait(code)

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame, if there is a connection; one that breaks meanwhile is opened again."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await self._socket.send_str(msgspec.json.encode(frame).decode())

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        query = ""
        if self.seq is not None:
            query = f"?after={self.seq}" + (f"&epoch={self.epoch}" if self.epoch else "")
        self._header = await self._connection.token_header()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                return await self._connection.session.ws_connect(
                    f"{self._connection.url}/ws/{segment(self.session_id)}{query}",
                    protocols=(SUBPROTOCOL,),
                    headers=self._header,
                    max_msg_size=0,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403, 404):
                raise ClientError(
                    "forbidden" if error.status == 403 else "refused",
                    f"Operator refused the connection with {error.status}",
                    status=error.status,
                ) from error
            raise

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any] | None:
        """The next frame; None at the connection's end."""
        async with asyncio.timeout(self._silence):
            message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        frame: dict[str, Any] = msgspec.json.decode(message.data)
        kind = frame["type"]
        if kind == "ready":
            self._socket, self._pause = socket, PAUSE
            self._silence = 2 * frame["heartbeat_s"] + QUIET
            if self.seq is None:
                self.seq, self.epoch = frame["seq"], frame["epoch"]
        elif kind == "event":
            self.seq = frame.get("seq", self.seq)
            if frame["event"] == "session.created":
                self.epoch = frame["data"].get("epoch", self.epoch)
        elif kind == "resync":
            self.seq, self.epoch = frame["seq"], frame["epoch"]
        elif kind == "draining":
            self._asked_pause = frame["reconnect_in_ms"] / 1000
        return frame

    async def _token_is_another(self, error: ClientError) -> bool:
        """True where a refused token has a successor by now."""
        refused = error.status in (401, 403, FORBIDDEN)
        if not (refused and self._connection.renews_tokens):
            return False
        return await self._connection.token_header() != self._header

    def _heed(self, error: Exception) -> None:
        """Take the pause that a refused handshake asks for."""
        if isinstance(error, aiohttp.WSServerHandshakeError):
            self._asked_pause = retry_after(error.headers or {})

    async def _wait(self, code: int | None) -> None:
        asked, self._asked_pause = self._asked_pause, None
        if code == STATE_CHANGED:
            return
        if code in MORE_SLOWLY:
            self._pause = max(self._pause, PAUSE_FULL)
        pause = self._pause if asked is None else min(asked, LONGEST_PAUSE)
        await asyncio.sleep(jitter(pause))
        self._pause = min(self._pause * 2, PAUSE_MAX)


def _closed(code: int) -> ClientError:
    reason = CLOSE_REASONS.get(code, "a reason of its own")
    return ClientError("closed", f"Operator closed the connection: {reason} ({code})", status=code)
