"""One session over a websocket that reconnects by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import msgspec

from operator_svc.background import AsyncCloseable
from operator_svc.client.connection import ClientConnection
from operator_svc.client.replies import ClientError, KnownReplies, Reply, lost
from operator_svc.protocol.frames import SUBPROTOCOL, CloseCode

PAUSE = 0.25
PAUSE_MAX = 5.0
"""Seconds between attempts to reconnect: the first, and the longest."""
FINAL = 4500
"""Close codes from here on say not to reconnect."""
QUIET = 10.0
"""Seconds beyond two heartbeats after which a silent connection counts as lost."""


class Conversation(AsyncCloseable):
    """A websocket to the session ``session_id``; use it as an asynchronous context manager."""

    def __init__(
        self,
        connection: ClientConnection,
        session_id: str,
        on_reconnect: Callable[[], None] | None = None,
        on_back: Callable[[], None] | None = None,
    ) -> None:
        self.session_id = session_id
        self._on_reconnect = on_reconnect
        self._on_back = on_back
        self._connection = connection
        self._seq: int | None = None
        self._epoch: str | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._silence = 60.0
        self._replies = KnownReplies()
        self._asked: dict[str, tuple[dict[str, Any], asyncio.Future[dict[str, Any]]]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._failure: ClientError | None = None

    async def __aenter__(self) -> Self:
        ready = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read_forever(ready))
        try:
            await ready
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        """Close the websocket; replies under way are written to their end all the same."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    @property
    def failed(self) -> bool:
        """True once it has ended for good: the server said not to come back."""
        return self._failure is not None

    # Requests.

    async def ask(self, message: str, *, key: str | None = None, **fields: Any) -> Reply:
        """Send a message; the reply to it, which then grows. ``fields`` go into the frame.

        The message is stored once this returns. Raises ClientError where it is refused.
        """
        return await self._chat({"message": message, **fields}, key)

    async def regenerate(self, message_id: int, *, key: str | None = None) -> Reply:
        """Ask a stored message again, named by its id or by that of a reply to it; the new reply.

        Raises ClientError where it is refused.
        """
        return await self._chat({"metadata": {"regenerate": message_id}}, key)

    async def _chat(self, fields: dict[str, Any], key: str | None) -> Reply:
        frame = {"type": "chat", "client_message_id": key or uuid.uuid4().hex, **fields}
        result = await self._command(frame)
        return await self._reply_of(result["reply_id"], _time(result.get("created_at")))

    async def cancel(self, reply: Reply) -> None:
        """Stop a reply, wherever it is written."""
        await self._command({"type": "cancel", "reply_id": reply.reply_id})

    async def _command(self, frame: dict[str, Any]) -> dict[str, Any]:
        if self._failure is not None:
            raise self._failure
        frame_id = uuid.uuid4().hex
        frame["id"] = frame_id
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[frame_id] = (frame, future)
        try:
            if self._socket is not None:
                await self._send(frame)
            return await future
        finally:
            del self._asked[frame_id]

    async def _send(self, frame: dict[str, Any]) -> None:
        """Send a frame; one that cannot be sent now is sent when the connection is back."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await self._socket.send_str(msgspec.json.encode(frame).decode())

    async def _reply_of(self, reply_id: int, begun_at: datetime | None) -> Reply:
        reply = self._replies.find(reply_id, begun_at)
        if reply is None:
            # An older one, which the key stands for: its events came before this connection.
            reply = self._replies.get(reply_id, begun_at)
            await self._look_up(reply)
        return reply

    async def _look_up(self, reply: Reply) -> None:
        view = await self._connection.reply(reply.reply_id)
        if not reply.began(view.created_at):
            raise lost()
        if view.status == "streaming":
            reply.replace(view.content, view.end)
        else:
            reply.finish(view.status, view.content, view.metadata, view.metadata.get("error"))

    # The connection.

    async def _read_forever(self, ready: asyncio.Future[None]) -> None:
        pause = PAUSE
        try:
            while True:
                at_once = False
                try:
                    code = await self._serve(ready)
                    at_once = code == CloseCode.STATE_CHANGED
                    pause = PAUSE if code is not None else pause
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    if not ready.done():
                        raise self._connection.unreachable() from error
                if self._on_reconnect is not None:
                    self._on_reconnect()
                if not at_once:
                    await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                pause = min(pause * 2, PAUSE_MAX)
        except ClientError as error:
            self._give_up(error)
            if not ready.done():
                ready.set_exception(error)

    def _give_up(self, error: ClientError) -> None:
        self._failure = error
        for _, future in self._asked.values():
            if not future.done():
                future.set_exception(error)
        for reply in self._replies.waiting():
            reply.fail(error)

    async def _serve(self, ready: asyncio.Future[None]) -> int | None:
        """Connect and read to the connection's end; its close code, 0 for a plain cut, and None
        where the server did not let it in."""
        query = ""
        if self._seq is not None:
            query = f"?after={self._seq}" + (f"&epoch={self._epoch}" if self._epoch else "")
        url = f"{self._connection.url}/ws/{quote(self.session_id)}{query}"
        try:
            socket = await self._connection.session.ws_connect(
                url, protocols=(SUBPROTOCOL,), max_msg_size=0
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403, 404):
                raise ClientError(
                    "forbidden" if error.status == 403 else "refused",
                    f"Operator refused the connection with {error.status}",
                ) from error
            raise
        served = False
        async with socket:
            try:
                while True:
                    async with asyncio.timeout(self._silence):
                        message = await socket.receive()
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    frame = msgspec.json.decode(message.data)
                    if frame["type"] == "ready":
                        served = True
                        await self._begin(socket, frame)
                        if not ready.done():
                            ready.set_result(None)
                    else:
                        await self._take(frame)
            finally:
                self._socket = None
        if socket.close_code is not None and socket.close_code >= FINAL:
            raise ClientError("closed", _why(socket.close_code))
        return (socket.close_code or 0) if served else None

    async def _begin(self, socket: aiohttp.ClientWebSocketResponse, frame: dict[str, Any]) -> None:
        self._silence = 2 * frame["heartbeat_s"] + QUIET
        if self._seq is None:
            self._seq, self._epoch = frame["seq"], frame["epoch"]
        self._socket = socket
        if self._on_back is not None:
            self._on_back()
        for asked, _ in list(self._asked.values()):
            await self._send(asked)

    async def _take(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == "event":
            self._event(frame)
        elif kind == "delta" and frame["kind"] == "text":
            reply = self._known(frame["reply_id"])
            if not reply.append(frame["offset"], frame["end"], frame["content"]):
                await self._send({"type": "resume", "after": self._seq or 0})
        elif kind == "reply.snapshot" and frame["kind"] == "text":
            self._known(frame["reply_id"]).replace(frame["text"], frame["end"])
        elif kind == "result" and frame["id"] in self._asked:
            self._result(frame)
        elif kind == "resync":
            await self._start_from(frame)
        elif kind == "resumed":
            await self._recover(lambda reply: not reply.shown)

    def _known(self, reply_id: int, begun_at: datetime | None = None) -> Reply:
        reply = self._replies.get(reply_id, begun_at)
        reply.shown = True
        return reply

    def _event(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        self._seq = frame.get("seq", self._seq)
        if frame["event"] == "session.created":
            self._epoch = data.get("epoch", self._epoch)
        if frame["event"].startswith("reply."):
            if frame["event"] == "reply.started":
                self._known(data["reply_id"], _time(frame["ts"]))
            else:
                reply = self._known(data["reply_id"])
                reply.finish(data["status"], data["content"], data["metadata"], data.get("error"))

    def _result(self, frame: dict[str, Any]) -> None:
        future = self._asked[frame["id"]][1]
        if future.done():
            return
        if frame["ok"]:
            future.set_result(frame.get("data") or {})
        else:
            error = frame["error"]
            future.set_exception(
                ClientError(error["error"], error["detail"], retryable=error["retryable"])
            )

    async def _start_from(self, frame: dict[str, Any]) -> None:
        """Begin anew from the server's snapshot: too much was missed. It has the newest messages
        only: replies that are not among them are looked up."""
        self._seq, self._epoch = frame["seq"], frame["epoch"]
        shown = {message["id"]: message for message in frame["snapshot"]["messages"]}
        for message in shown.values():
            reply = self._replies.find(message["id"], _time(message["timestamp"]))
            if reply is not None and message["status"] != "streaming":
                metadata = message["metadata"]
                reply.finish(message["status"], message["content"], metadata, metadata.get("error"))
        await self._recover(lambda reply: reply.reply_id not in shown)

    async def _recover(self, missing: Callable[[Reply], bool]) -> None:
        """Look up the replies that wait and are ``missing`` where the session stands now. One that
        is not there any more fails with ``reply_not_found``: the database has lost it."""
        for reply in self._replies.waiting():
            while missing(reply):
                try:
                    await self._look_up(reply)
                    break
                except ClientError as error:
                    if not error.retryable:
                        reply.fail(error)
                        break


def _time(told: str | None) -> datetime | None:
    """A time of a frame; None where it has none, as from an Operator of an older version."""
    return None if told is None else datetime.fromisoformat(told)


def _why(code: int) -> str:
    """The meaning of a close code."""
    reason = next((one.reason for one in CloseCode if one == code), "a reason of its own")
    return f"Operator closed the connection: {reason} ({code})"
