"""HTTP transport to one peer: connections, safe repeats, and the translation of errors.

A peer's own error messages go to the log and never to a client, which gets an error code and
a sentence of Operator's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
import structlog
from multidict import CIMultiDict
from yarl import URL

from operator_svc import __version__, tracing
from operator_svc.errors import ConfigurationError, OperatorError
from operator_svc.peers.failures import (
    Failures,
    PeerLostError,
    PeerRefusedError,
    PeerWorksError,
    retry_after,
)
from operator_svc.peers.http_client import HttpClient
from operator_svc.peers.http_connection import NotSentError
from operator_svc.peers.http_response import Response
from operator_svc.peers.peer_errors import MAX_CHARS, error_message, mask, scrubbed
from operator_svc.peers.time_limit import TimeLimit
from operator_svc.protocol.headers import CORRELATION_ID, TOKEN, is_compressed
from operator_svc.settings_checks import split_url

KEEP_ALIVE = 4.0
"""Seconds that an idle connection is kept. Uvicorn, which serves most modules, closes after 5:
closing first leaves no moment in which a call is written to a connection being closed."""
RETRY_PAUSE = 0.05
RETRY_AFTER = 2.0
"""Seconds after which a client may try again when a peer refused the connection."""
PASSING = frozenset({502, 503, 504})
"""HTTP statuses of a proxy, or of a server that is still starting: temporary."""
SAID_BYTES = 4096
SAID_TIMEOUT = 1.0
LINGER = 1.0
"""Seconds that a stream may take to end after its last event before it is closed; a stream that
ends in time leaves its connection for the next call."""

log = structlog.get_logger(__name__)


def vx11_headers(token: str) -> dict[str, str]:
    """Headers for a module of VX11; empty without a token."""
    return {TOKEN: token} if token else {}


class Transport:
    """HTTP to one peer, over its own pool of connections."""

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        failures: Failures,
        connect_timeout: float,
    ) -> None:
        base = _address(name, url)
        self.name = name
        self.failures = failures
        self._base = base.with_user(None)
        self._targets: dict[str, str] = {}
        every: CIMultiDict[str] = CIMultiDict()
        every["Accept"] = "application/json"
        every["Accept-Encoding"] = "identity"
        every["User-Agent"] = f"operator-svc/{__version__}"
        if base.user:
            every["Authorization"] = aiohttp.encode_basic_auth(base.user, base.password or "")
        every.update(headers)
        self.http = HttpClient(self._base, every, connect_timeout, KEEP_ALIVE)
        self._secrets = [
            base.password or "",
            *(value.rpartition(" ")[2] for value in headers.values()),
            *base.query.values(),
        ]
        self._lingering: dict[Response, asyncio.TimerHandle] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        for response in list(self._lingering):
            self._settle(response)
        await self.http.aclose()

    async def open(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        hide: str = "",
    ) -> Response:
        """Send a call and wait for the head of a 2xx answer, which the caller closes.

        ``hide`` is masked in the log, should the peer repeat it. A call that was never handed
        to a connection is sent once more, and so is a GET whose connection was lost; a POST must
        not run twice.
        """
        target = self._target(path, params)
        sent = dict(headers or ())
        tracing.inject(sent)
        if (request_id := structlog.contextvars.get_contextvars().get("request_id")) is not None:
            sent[CORRELATION_ID] = request_id
        for last in (False, True):
            try:
                response = await self.http.send(method, target, sent, body)
                break
            except (aiohttp.ClientError, OSError) as error:
                if last or not _may_repeat(method, error):
                    raise self.failure(f"{method} {path}", error) from error
                if _is_unsent(error):
                    await asyncio.sleep(RETRY_PAUSE)
        if not 200 <= response.status <= 299:
            try:
                raise await self._refusal(response, f"{method} {path}", hide)
            finally:
                response.close()
        if is_compressed(response.headers.get("content-encoding")):
            response.close()
            raise self.wrong(f"{method} {path}", "its answer is compressed, against the request")
        return response

    def _target(self, path: str, params: Mapping[str, str] | None) -> str:
        """``path`` below the peer's address, whose query stays behind it, before ``params``."""
        target = None if params else self._targets.get(path)
        if target is None:
            whole = self._base.raw_path.rstrip("/") + path
            url = self._base.with_path(whole, encoded=True, keep_query=True)
            if params:
                return url.extend_query(params).raw_path_qs
            target = self._targets[path] = url.raw_path_qs
        return target

    def linger(self, response: Response) -> None:
        """Let ``response``, whose content is no longer needed, end by itself.

        Most end at once and leave their connection for the next call; one that does not end
        within ``LINGER`` is closed.
        """
        if not response.ended:
            loop = asyncio.get_running_loop()
            self._lingering[response] = loop.call_later(LINGER, self._settle, response)
            response.on_end(lambda: self._settle(response))

    def _settle(self, response: Response) -> None:
        if (timer := self._lingering.pop(response, None)) is not None:
            timer.cancel()
            response.close()

    async def _refusal(self, response: Response, call: str, hide: str) -> OperatorError:
        """The error for an answer whose status is not 2xx."""
        status = response.status
        try:
            async with TimeLimit(SAID_TIMEOUT):
                body = await read_bounded(response, SAID_BYTES, cut=True) or b""
        except (aiohttp.ClientError, TimeoutError):
            body = b""  # it failed, whatever its message would have been
        said = scrubbed(mask(hide, error_message(body)), self._secrets)
        log.warning("peer refused", peer=self.name, call=call, status=status, said=said)
        detail = f"{self.name} answered with HTTP status {status}"
        seconds = retry_after(response.headers.get("retry-after", ""))
        if status == 429:
            return PeerWorksError(
                self.failures.busy, f"{self.name} has too many requests", retry_after=seconds
            )
        if status == 408:  # the call took too long to arrive: its sender may repeat it
            return PeerWorksError(self.failures.error, detail, retry_after=seconds)
        if 400 <= status <= 499:
            text = mask(hide, body.decode("utf-8", "replace"))
            text = scrubbed(text, self._secrets, SAID_BYTES)
            return PeerRefusedError(self.failures.error, detail, status=status, body=text)
        kind = PeerLostError if status in PASSING else OperatorError
        return kind(self.failures.error, detail, retry_after=seconds)

    def failure(self, call: str, error: BaseException) -> OperatorError:
        """The OperatorError for an error of aiohttp or of the system."""
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, TimeoutError):
            connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
            return self.timed_out(call, "connect" if connecting else "read")
        reason = scrubbed(reason, self._secrets)
        log.warning("peer failed", peer=self.name, call=call, reason=reason)
        if _is_unsent(error) or type(error) is aiohttp.ClientConnectionError:
            return PeerLostError(
                self.failures.unavailable,
                f"{self.name} cannot be reached",
                retry_after=RETRY_AFTER,
            )
        return PeerLostError(self.failures.error, f"{self.name} broke off its answer")

    def timed_out(self, call: str, limit: str) -> OperatorError:
        """The error for a ``limit`` of time that passed."""
        log.warning("peer too slow", peer=self.name, call=call, limit=limit)
        return OperatorError(self.failures.timeout, f"{self.name} did not answer in time ({limit})")

    def wrong(self, call: str, detail: str, said: str = "", raw: object = b"") -> PeerWorksError:
        """The error for an answer that cannot be used; ``detail`` may be shown to a client.

        The peer was reached and answered: what one caller is told, or one engine says, does not
        shut out all others.
        """
        size = len(raw) if isinstance(raw, bytes) else 0
        said = scrubbed(said, self._secrets)
        log.warning(
            "peer response invalid", peer=self.name, call=call, reason=detail, said=said, bytes=size
        )
        if raw:
            log.debug("peer response invalid", peer=self.name, call=call, raw=repr(raw)[:MAX_CHARS])
        return PeerWorksError(self.failures.error, f"{self.name}: {detail}")


def _address(name: str, url: str) -> URL:
    try:
        split_url(url)
        return URL(url)
    except ValueError as error:
        raise ConfigurationError([f"the address of {name} {error}"]) from None


def _is_unsent(error: BaseException) -> bool:
    """True where no connection was made, or it was lost at once, so nothing was sent."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL | NotSentError)


def _may_repeat(method: str, error: BaseException) -> bool:
    """True where the call was not sent, or may be sent twice."""
    if isinstance(error, TimeoutError):
        return False
    lost = isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError)
    return _is_unsent(error) or (method == "GET" and lost)


async def read_bounded(response: Response, limit: int, *, cut: bool = False) -> bytes | None:
    """Read the whole body; of a body beyond ``limit`` bytes its start where ``cut``, else None."""
    body = await response.read()
    if body and not response.at_end:
        pieces = bytearray(body)
        while piece := await response.read():
            pieces += piece
            if len(pieces) > limit:
                break
        body = bytes(pieces)
    if len(body) > limit:
        return body[:limit] if cut else None
    return body
