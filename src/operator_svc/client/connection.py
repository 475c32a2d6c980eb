"""The HTTP connections of a client, and its calls with their retries."""

from __future__ import annotations

import asyncio
import random
from typing import TypeVar

import aiohttp
import msgspec

from operator_svc.client.replies import ClientError
from operator_svc.protocol.chat import ReplyView
from operator_svc.protocol.headers import TOKEN

S = TypeVar("S", bound=msgspec.Struct)

TRIES = 5
"""Attempts of a call that may be tried again."""
PAUSE = 0.25
"""Seconds before the second attempt; doubled for each further one."""


class ClientConnection:
    """The connections to Operator at ``url``, open between ``open`` and ``aclose``."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {TOKEN: token} if token else {}
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Prepare for calls; nothing is connected yet."""
        self._session = aiohttp.ClientSession(headers=self._headers)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open connections. Raises RuntimeError where they were never opened."""
        if self._session is None:
            raise RuntimeError("use it in: async with OperatorClient(...)")
        return self._session

    def unreachable(self, *, retryable: bool = False) -> ClientError:
        """The error of a service that does not answer."""
        detail = f"Operator cannot be reached at {self.url}"
        return ClientError("unreachable", detail, retryable=retryable)

    async def reply(self, reply_id: int) -> ReplyView:
        """A reply as it stands. Raises as ``call``."""
        return await self.call(ReplyView, "GET", f"/operator/reply/{reply_id}")

    async def ask_once(self, kind: type[S], path: str) -> S:
        """The answer of a GET that is tried once. Raises ClientError, with the code
        ``no_operator`` where the answer is not one of Operator's."""
        try:
            return msgspec.json.decode(await self._attempt("GET", path, None), type=kind)
        except (msgspec.DecodeError, ClientError) as error:
            if isinstance(error, ClientError) and error.code != "not_found":
                raise
            detail = f"what answers at {self.url} is not Operator"
            raise ClientError("no_operator", detail) from error

    async def call(self, kind: type[S], method: str, path: str, body: object = None) -> S:
        """The answer of a call, decoded. Raises ClientError."""
        return msgspec.json.decode(await self.request(method, path, body), type=kind)

    async def request(self, method: str, path: str, body: object = None) -> bytes:
        """The body of an answer; a call that may be retried is tried TRIES times.

        Raises ClientError.
        """
        pause = PAUSE
        for left in range(TRIES - 1, -1, -1):
            try:
                return await self._attempt(method, path, body)
            except ClientError as error:
                if not left or not error.retryable:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, method: str, path: str, body: object) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if data is not None else {}
        try:
            async with self.session.request(
                method, self.url + path, data=data, headers=headers
            ) as response:
                content = await response.read()
                if response.status < 300:
                    return content
                raise _refusal(response.status, content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.unreachable(retryable=True) from error


class _Refusal(msgspec.Struct):
    """The members of a problem's body that a client shows."""

    error: str = "unknown"
    detail: str = ""


def _refusal(status: int, content: bytes) -> ClientError:
    try:
        refusal = msgspec.json.decode(content, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        code = "not_found" if status == 404 else "unknown"
        refusal = _Refusal(code, f"it answered {status}")
    return ClientError(
        refusal.error, refusal.detail, retryable=status == 429 or status in (503, 504)
    )
