"""The calls of Operator over HTTP, and the way to its conversations."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Self
from urllib.parse import quote

import msgspec

from operator_svc.background import AsyncCloseable
from operator_svc.client.connection import ClientConnection
from operator_svc.client.conversation import Conversation
from operator_svc.protocol.chat import ChatAnswer, ChatBody, ReplyView
from operator_svc.protocol.sessions import History, SessionList
from operator_svc.protocol.system import Me


class OperatorClient(AsyncCloseable):
    """Operator at ``url``; use it as an asynchronous context manager.

    Raises ClientError: with Operator's own code where it refused, ``unreachable`` where it did
    not answer. Reads, and chats (under their key), are retried where that may help.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self._connection = ClientConnection(url, token)

    async def __aenter__(self) -> Self:
        self._connection.open()
        return self

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connection.aclose()

    def conversation(
        self,
        session_id: str | None = None,
        *,
        on_reconnect: Callable[[], None] | None = None,
        on_back: Callable[[], None] | None = None,
    ) -> Conversation:
        """A websocket to one session, a new one by default.

        ``on_reconnect`` is called before each attempt to connect again, ``on_back`` each time
        that the server has let it in.
        """
        session_id = session_id or uuid.uuid4().hex
        return Conversation(self._connection, session_id, on_reconnect, on_back)

    async def me(self) -> Me:
        """The name, role and user of the token. It is not retried."""
        return await self._connection.ask_once(Me, "/operator/me")

    async def chat(
        self, message: str, *, session_id: str | None = None, key: str | None = None
    ) -> ChatAnswer:
        """Ask, and wait for the whole reply. Retried under ``key`` (made where not given)."""
        body = ChatBody(
            message=message, session_id=session_id, client_message_id=key or uuid.uuid4().hex
        )
        plain = {name: value for name, value in msgspec.structs.asdict(body).items() if value}
        return await self._connection.call(ChatAnswer, "POST", "/operator/chat", plain)

    async def history(
        self, session_id: str, *, limit: int = 200, before: int | None = None
    ) -> History:
        """A page of a session's messages."""
        query = f"?limit={limit}" + (f"&before={before}" if before is not None else "")
        path = f"/operator/session/{quote(session_id)}{query}"
        return await self._connection.call(History, "GET", path)

    async def sessions(self, *, q: str | None = None, limit: int = 50) -> SessionList:
        """Sessions, newest first; with ``q`` those where a message has its words."""
        query = f"?limit={limit}" + (f"&q={quote(q)}" if q else "")
        return await self._connection.call(SessionList, "GET", f"/operator/sessions{query}")

    async def reply(self, reply_id: int) -> ReplyView:
        """A reply as it stands."""
        return await self._connection.reply(reply_id)

    async def cancel(self, reply_id: int) -> ReplyView:
        """Stop a reply."""
        path = f"/operator/reply/{reply_id}/cancel"
        return await self._connection.call(ReplyView, "POST", path)

    async def delete(self, session_id: str) -> None:
        """Delete a session and all that belongs to it."""
        await self._connection.request("DELETE", f"/operator/session/{quote(session_id)}")
