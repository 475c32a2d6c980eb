"""One session that is talked in, and the replies in it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Self

from operator_client.calls import Calls
from operator_client.connection import ClientConnection
from operator_client.errors import ClientError
from operator_client.replies import KnownReplies, Reply, lost
from operator_client.session_socket import SessionSocket


class Conversation:
    """A websocket to the session ``session_id``; use it as an asynchronous context manager."""

    def __init__(
        self,
        connection: ClientConnection,
        session_id: str,
        on_reconnect: Callable[[], None],
        on_back: Callable[[], None],
    ) -> None:
        self.session_id = session_id
        self._calls = Calls(connection)
        self._on_back = on_back
        self._socket = SessionSocket(connection, session_id, on_reconnect=on_reconnect)
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

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the websocket; replies under way are written to their end all the same. Who waits
        for one here gets ClientError: ``get_reply`` tells what became of it."""
        if self._reading is not None:
            self._reading.cancel()
            # Awaiting the task itself would not tell its cancellation from the caller's own.
            await asyncio.wait([self._reading])
            if not self._reading.cancelled():
                self._reading.result()

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
        try:
            return await self._reply_of(result["reply_id"], _time(result.get("created_at")))
        finally:
            self._forget()

    async def cancel(self, reply: Reply) -> None:
        """Stop a reply, wherever it is written."""
        await self._command({"type": "cancel", "reply_id": reply.reply_id})

    async def _command(self, frame: dict[str, Any]) -> dict[str, Any]:
        if self._reading is None:
            raise RuntimeError("use it in: async with client.conversation(...)")
        if self._failure is not None:
            raise self._failure
        frame_id = uuid.uuid4().hex
        frame["id"] = frame_id
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[frame_id] = (frame, future)
        try:
            await self._socket.send(frame)
            return await future
        finally:
            del self._asked[frame_id]

    async def _reply_of(self, reply_id: int, begun_at: datetime | None) -> Reply:
        reply = self._replies.find(reply_id, begun_at)
        if reply is None:
            # An older one, which the key stands for: its events came before this connection.
            reply = self._replies.get(reply_id, begun_at)
            await self._look_up(reply)
        return reply

    def _forget(self) -> None:
        """Drop the replies that have ended, unless the result of a chat may name one yet."""
        if not self._asked:
            self._replies.forget_ended()

    async def _look_up(self, reply: Reply) -> None:
        view = await self._calls.get_reply(reply.reply_id)
        if not reply.began(view.created_at):
            raise lost()
        if view.status == "streaming":
            reply.replace(view.content, view.end)
        else:
            reply.finish(view.status, view.content, view.metadata, view.metadata.get("error"))

    # The connection.

    async def _read_forever(self, ready: asyncio.Future[None]) -> None:
        try:
            async with contextlib.aclosing(self._socket.frames()) as frames:
                async for frame in frames:
                    if frame["type"] == "ready":
                        await self._begin()
                        if not ready.done():
                            ready.set_result(None)
                    else:
                        await self._take(frame)
        except ClientError as error:
            self._give_up(error)
            if not ready.done():
                ready.set_exception(error)
        except Exception as error:  # such as one of the function that gives the token
            if not ready.done():
                ready.set_exception(error)
            raise
        finally:
            if self._failure is None:
                self._give_up(ClientError("closed", "the conversation is closed"))

    def _give_up(self, error: ClientError) -> None:
        self._failure = error
        for _, future in self._asked.values():
            if not future.done():
                future.set_exception(error)
        for reply in self._replies.waiting():
            reply.fail(error)

    async def _begin(self) -> None:
        self._on_back()
        for asked, _ in list(self._asked.values()):
            await self._socket.send(asked)

    async def _take(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == "event":
            self._event(frame)
        elif kind == "delta" and frame["kind"] == "text":
            reply = self._known(frame["reply_id"])
            if not reply.append(frame["offset"], frame["end"], frame["content"]):
                await self._socket.send({"type": "resume", "after": self._socket.seq or 0})
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
        if frame["event"].startswith("reply."):
            if frame["event"] == "reply.started":
                self._known(data["reply_id"], _time(frame["ts"]))
            else:
                reply = self._known(data["reply_id"])
                reply.finish(data["status"], data["content"], data["metadata"], data.get("error"))
                self._forget()

    def _result(self, frame: dict[str, Any]) -> None:
        future = self._asked[frame["id"]][1]
        if future.done():
            return
        if frame["ok"]:
            future.set_result(frame.get("data") or {})
        else:
            error = frame["error"]
            future.set_exception(
                ClientError(
                    error["error"],
                    error["detail"],
                    retryable=error["retryable"],
                    retry_after=error.get("retry_after"),
                )
            )

    async def _start_from(self, frame: dict[str, Any]) -> None:
        """Begin anew from the server's snapshot: too much was missed. It has the newest messages
        only: replies that are not among them are looked up."""
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
