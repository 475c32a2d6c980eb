"""The calls of Operator that are no conversation."""

from __future__ import annotations

import asyncio
import random
import uuid
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from operator_svc.client.conversation import Conversation
from operator_svc.client.replies import ClientError
from operator_svc.protocol.chat import ChatAnswer, ChatBody, ReplyView
from operator_svc.protocol.headers import TOKEN
from operator_svc.protocol.sessions import History, SessionList

S = TypeVar("S", bound=msgspec.Struct)

TRIES = 5
"""Attempts of a call that may be tried again."""
PAUSE = 0.25
"""Seconds before the second attempt; doubled for each further one."""


class OperatorClient:
    """Operator at ``url``; use it as an asynchronous context manager.

    Raises ClientError: with Operator's own code where it refused, ``unreachable`` where it did
    not answer. Reads, and chats (under their key), are tried again where that may help.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url.rstrip("/")
        self._headers = {TOKEN: token} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> OperatorClient:
        self._session = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The connections; raises RuntimeError outside of ``async with``."""
        if self._session is None:
            raise RuntimeError("use it in: async with OperatorClient(...)")
        return self._session

    def conversation(self, session_id: str | None = None) -> Conversation:
        """A websocket to one session, a new one by default."""
        return Conversation(self, session_id or uuid.uuid4().hex)

    async def chat(
        self, message: str, *, session_id: str | None = None, key: str | None = None
    ) -> ChatAnswer:
        """Ask, and wait for the whole reply. Tried again under ``key`` (made where not given)."""
        body = ChatBody(
            message=message, session_id=session_id, client_message_id=key or uuid.uuid4().hex
        )
        plain = {name: value for name, value in msgspec.structs.asdict(body).items() if value}
        return await self._call(ChatAnswer, "POST", "/operator/chat", body=plain)

    async def history(
        self, session_id: str, *, limit: int = 200, before: int | None = None
    ) -> History:
        """A page of a session's messages."""
        query = f"?limit={limit}" + (f"&before={before}" if before is not None else "")
        return await self._call(History, "GET", f"/operator/session/{quote(session_id)}{query}")

    async def sessions(self, *, q: str | None = None, limit: int = 50) -> SessionList:
        """Sessions, newest first; with ``q`` those where a message has its words."""
        query = f"?limit={limit}" + (f"&q={quote(q)}" if q else "")
        return await self._call(SessionList, "GET", f"/operator/sessions{query}")

    async def reply(self, reply_id: int) -> ReplyView:
        """A reply as it stands."""
        return await self._call(ReplyView, "GET", f"/operator/reply/{reply_id}")

    async def cancel(self, reply_id: int) -> ReplyView:
        """Stop a reply."""
        return await self._call(ReplyView, "POST", f"/operator/reply/{reply_id}/cancel")

    async def delete(self, session_id: str) -> None:
        """Delete a session and all that belongs to it."""
        await self._tried("DELETE", f"/operator/session/{quote(session_id)}")

    async def _call(self, kind: type[S], method: str, path: str, body: object = None) -> S:
        return msgspec.json.decode(await self._tried(method, path, body), type=kind)

    async def _tried(self, method: str, path: str, body: object = None) -> bytes:
        pause = PAUSE
        for left in range(TRIES - 1, -1, -1):
            try:
                return await self._once(method, path, body)
            except ClientError as error:
                if not left or not error.retryable:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, method: str, path: str, body: object) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if data is not None else {}
        try:
            async with self.session.request(
                method, self.url + path, data=data, headers=headers
            ) as answer:
                told = await answer.read()
                if answer.status < 300:
                    return told
                raise _refusal(answer.status, told)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClientError(
                "unreachable", f"Operator can not be reached at {self.url}", retryable=True
            ) from error


class _Problem(msgspec.Struct):
    error: str = "unknown"
    detail: str = ""


def _refusal(status: int, told: bytes) -> ClientError:
    try:
        problem = msgspec.json.decode(told, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(detail=f"it answered {status}")
    return ClientError(
        problem.error, problem.detail, retryable=status == 429 or status in (503, 504)
    )
