"""What all outbound calls share: typed answers, limits of time and size, a circuit breaker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import aiohttp
import msgspec

from operator_svc import tracing
from operator_svc.errors import OperatorError
from operator_svc.models import Json
from operator_svc.peers.breaker import Breaker
from operator_svc.peers.peer_errors import words
from operator_svc.peers.transport import (
    PEER,
    RETRY_PAUSE,
    SWITCH,
    AddHeaders,
    Failures,
    PeerLostError,
    PeerRefusedError,
    Transport,
    read_bounded,
)
from operator_svc.protocol.headers import TOKEN

__all__ = ["PEER", "SWITCH", "AddHeaders", "Failures", "Peer", "PeerRefusedError"]

T = TypeVar("T")

CONNECT_TIMEOUT = 1.0
CALL_TIMEOUT = 2.5
"""Seconds for a whole call: the overview and the dashboard must answer within 3."""
MAX_ANSWER_BYTES = 4 * 2**20
READ_ATTEMPTS = 2


class _Call(NamedTuple):
    method: str
    path: str
    body: bytes | None
    params: Mapping[str, str] | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class _Status(msgspec.Struct):
    status: Json = None


class Peer(Transport):
    """One neighbour, with connections of its own and a circuit breaker.

    Each call is bounded in time and in the size of its answer, follows no redirect, and
    raises nothing but OperatorError (``failures`` names the codes) and CancelledError.
    """

    def __init__(
        self,
        name: str,
        url: str,
        token: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        failures: Failures = PEER,
        connect_timeout: float = CONNECT_TIMEOUT,
        timeout: float = CALL_TIMEOUT,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        breaker: Breaker | None = None,
        add_headers: AddHeaders | None = None,
    ) -> None:
        every = {TOKEN: token, **(headers or {})} if token else headers or {}
        super().__init__(name, url, every, failures, connect_timeout, add_headers)
        self.breaker = breaker or Breaker(name, failures.unavailable)
        self._timeout = timeout
        self._max_answer_bytes = max_answer_bytes

    async def get(
        self,
        path: str,
        answer: type[T],
        *,
        params: Mapping[str, str] | None = None,
        within: float | None = None,
        any_status: bool = False,
    ) -> T:
        """Read ``path``; tried twice where the first try did not get through.

        An answer whose ``status`` is ``error`` is a PeerRefusedError, unless ``any_status``.
        """
        call = _Call("GET", path, None, params)
        return await self._run(call, answer, within, any_status=any_status)

    async def post(
        self, path: str, body: object, answer: type[T], *, within: float | None = None
    ) -> T:
        """Send ``body`` as JSON, once; a ``status`` of ``error`` is a PeerRefusedError."""
        call = _Call("POST", path, msgspec.json.encode(body), None)
        return await self._run(call, answer, within, any_status=False)

    async def _run(
        self, call: _Call, answer: type[T], within: float | None, *, any_status: bool
    ) -> T:
        ticket = self.breaker.enter()
        try:
            with tracing.span(
                call.method,
                "client",
                peer__service=self.name,
                http__request__method=call.method,
                url__path=call.path,
            ):
                async with asyncio.timeout(within or self._timeout):
                    raw = await self._tries(call)
            if not any_status:
                self._check_status(raw, str(call))
            result = self._decode(raw, answer, str(call))
        except TimeoutError:
            self.breaker.failed(ticket)
            raise self.timed_out(str(call), "total") from None
        except PeerRefusedError:
            self.breaker.succeeded(ticket)
            raise
        except OperatorError:
            self.breaker.failed(ticket)
            raise
        except BaseException:
            self.breaker.left(ticket)
            raise
        self.breaker.succeeded(ticket)
        return result

    async def _tries(self, call: _Call) -> bytes:
        attempt = 1
        while True:
            try:
                response = await self.open(call.method, call.path, call.body, params=call.params)
                try:
                    return await self._read(response, str(call))
                finally:
                    response.close()
            except PeerLostError:
                if call.method != "GET" or attempt == READ_ATTEMPTS:
                    raise
            attempt += 1
            await asyncio.sleep(RETRY_PAUSE * (0.5 + random.random()))  # noqa: S311 - jitter

    async def _read(self, response: aiohttp.ClientResponse, call: str) -> bytes:
        try:
            body = await read_bounded(response, self._max_answer_bytes)
        except aiohttp.ClientError as error:
            raise self.failure(call, error) from error
        if body is None:
            raise self.wrong(call, "its answer is too large")
        return body

    def _check_status(self, raw: bytes, call: str) -> None:
        """Raise for a refusal that comes with HTTP 200."""
        try:
            answer = msgspec.json.decode(raw, type=_Status)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # no object: the decoding that follows says so
        if isinstance(answer.status, str) and answer.status.lower() == "error":
            error = self.wrong(call, "it refused the call", words(raw))
            raise PeerRefusedError(error.code, error.detail, status=200)

    def _decode(self, raw: bytes, answer: type[T], call: str) -> T:
        try:
            return msgspec.json.decode(raw, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.wrong(call, "its answer makes no sense", str(error), raw) from error
