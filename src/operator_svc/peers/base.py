"""Client of one peer: typed answers, bounded calls, repeated reads, a circuit breaker."""

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
from operator_svc.peers.failures import (
    PEER,
    SWITCH,
    Failures,
    PeerLostError,
    PeerRefusedError,
    PeerWorksError,
)
from operator_svc.peers.http_response import Response
from operator_svc.peers.peer_errors import error_message
from operator_svc.peers.time_limit import TimeLimit
from operator_svc.peers.transport import RETRY_PAUSE, Transport, read_bounded
from operator_svc.protocol.decoding import nests_too_deep

__all__ = ["PEER", "SWITCH", "CallPolicy", "Failures", "Peer", "PeerRefusedError"]

T = TypeVar("T")


class CallPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a call and repeats of a read. Times are seconds, sizes are bytes."""

    connect_timeout: float = 1.0
    timeout: float = 2.5
    """For a whole call, repeats included: the overview and the dashboard answer within 3."""
    answer_bytes: int = 4 * 2**20
    read_attempts: int = 2


DEFAULT_POLICY = CallPolicy()


class _HttpCall(NamedTuple):
    method: str
    path: str
    body: bytes | None
    params: Mapping[str, str] | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class _Status(msgspec.Struct):
    status: Json = None


class Peer(Transport):
    """A peer, with its own connections and circuit breaker.

    Each call is bounded in time and in the size of its answer, follows no redirect, and
    raises nothing but OperatorError (``failures`` names the codes) and CancelledError.
    ``headers`` go with every call.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        failures: Failures = PEER,
        policy: CallPolicy = DEFAULT_POLICY,
        breaker: Breaker | None = None,
    ) -> None:
        super().__init__(name, url, headers or {}, failures, policy.connect_timeout)
        self.breaker = breaker or Breaker(name, failures.unavailable)
        self._policy = policy

    async def get(
        self,
        path: str,
        answer: type[T],
        *,
        params: Mapping[str, str] | None = None,
        within: float | None = None,
        any_status: bool = False,
    ) -> T:
        """Read ``path``, again where an attempt does not get through.

        An answer whose ``status`` is ``error`` is a PeerRefusedError, unless ``any_status``.
        """
        call = _HttpCall("GET", path, None, params)
        return await self._run(call, answer, within, any_status=any_status)

    async def post(
        self, path: str, body: object, answer: type[T], *, within: float | None = None
    ) -> T:
        """Send ``body`` as JSON, once; a ``status`` of ``error`` is a PeerRefusedError."""
        call = _HttpCall("POST", path, msgspec.json.encode(body), None)
        return await self._run(call, answer, within, any_status=False)

    async def _run(
        self, call: _HttpCall, answer: type[T], within: float | None, *, any_status: bool
    ) -> T:
        permit = self.breaker.acquire()
        try:
            with tracing.span(
                call.method,
                "client",
                peer__service=self.name,
                http__request__method=call.method,
                url__path=call.path,
            ):
                async with TimeLimit(within or self._policy.timeout):
                    raw = await self._attempt(call)
            if not any_status:
                self._check_status(raw, str(call))
            result = self._decode(raw, answer, str(call))
        except TimeoutError:
            self.breaker.failed(permit)
            raise self.timed_out(str(call), "total") from None
        except PeerWorksError:
            self.breaker.succeeded(permit)
            raise
        except OperatorError:
            self.breaker.failed(permit)
            raise
        except BaseException:
            self.breaker.abandoned(permit)
            raise
        self.breaker.succeeded(permit)
        return result

    async def _attempt(self, call: _HttpCall) -> bytes:
        attempt = 1
        while True:
            try:
                response = await self.open(call.method, call.path, call.body, params=call.params)
                try:
                    return await self._read(response, str(call))
                finally:
                    response.close()
            except PeerLostError:
                if call.method != "GET" or attempt == self._policy.read_attempts:
                    raise
            attempt += 1
            jitter = 0.5 + random.random()  # noqa: S311 - no secret
            await asyncio.sleep(RETRY_PAUSE * jitter)

    async def _read(self, response: Response, call: str) -> bytes:
        try:
            body = await read_bounded(response, self._policy.answer_bytes)
        except aiohttp.ClientError as error:
            raise self.failure(call, error) from error
        if body is None:
            raise self.wrong(call, "its answer is too large")
        return body

    def _check_status(self, raw: bytes, call: str) -> None:
        """Raise PeerRefusedError for a refusal that comes with HTTP 200."""
        try:
            answer = msgspec.json.decode(raw, type=_Status)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # no object: decoding it as the answer fails next
        if isinstance(answer.status, str) and answer.status.lower() == "error":
            error = self.wrong(call, "it refused the call", error_message(raw))
            raise PeerRefusedError(error.code, error.detail, status=200)

    def _decode(self, raw: bytes, answer: type[T], call: str) -> T:
        try:
            decoded = msgspec.json.decode(raw, type=answer)
            too_deep = nests_too_deep(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.wrong(call, "its answer makes no sense", str(error), raw) from error
        if too_deep:  # whoever is shown it could fail to encode it
            raise self.wrong(call, "its answer is nested too deeply", raw=raw)
        return decoded


class PeerClient:
    """A module's calls, on connections of its own."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    async def aclose(self) -> None:
        """Close the connections."""
        await self.peer.aclose()
