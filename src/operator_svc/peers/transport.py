"""HTTP transport to one peer: connections, safe repeats, and the translation of errors.

A peer's own error messages go to the log and never to a client, which gets an error code and
a sentence of Operator's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
import structlog
from aiohttp.abc import AbstractStreamWriter
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


class _Body(aiohttp.BytesPayload):
    """Request body that records whether any of it was handed to an open connection."""

    handed_over = False

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        # Head and body leave in one write, right here, with nothing awaited in between.
        transport = writer.transport
        self.handed_over = transport is not None and not transport.is_closing()
        await super().write_with_length(writer, content_length)


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
        self._urls: dict[str, URL] = {}
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._headers["Accept"] = "application/json"
        self._headers["Accept-Encoding"] = "identity"
        self._headers["User-Agent"] = f"operator-svc/{__version__}"
        if base.user:
            basic = aiohttp.encode_basic_auth(base.user, base.password or "")
            self._headers["Authorization"] = basic
        self._headers.update(headers)
        self._secrets = [
            base.password or "",
            *(value.rpartition(" ")[2] for value in headers.values()),
            *base.query.values(),
        ]
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None
        self._lingering: dict[aiohttp.ClientResponse, asyncio.TimerHandle] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        for response in list(self._lingering):
            self._settle(response)
        if self._session is not None:
            await self._session.close()

    async def open(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        hide: str = "",
    ) -> aiohttp.ClientResponse:
        """Send a call and wait for the head of a 2xx answer, which the caller closes.

        ``hide`` is masked in the log, should the peer repeat it. A call that was never handed
        to a connection is sent once more, any other is not: a POST must not run twice, and
        aiohttp too repeats idempotent methods only.
        """
        url = self._urls.get(path) or self._urls.setdefault(path, self._join(path))
        sent = dict(headers or ())
        tracing.inject(sent)
        if (request_id := structlog.contextvars.get_contextvars().get("request_id")) is not None:
            sent[CORRELATION_ID] = request_id
        payload = None
        for last in (False, True):
            if body is not None:
                payload = _Body(body, content_type="application/json")
            try:
                response = await self._open_session().request(
                    method,
                    url,
                    data=payload,
                    params=params,
                    headers=sent,
                    allow_redirects=False,
                )
                break
            except (aiohttp.ClientError, OSError) as error:
                refused = _is_refused(error)
                unsent = refused or (payload is not None and not payload.handed_over)
                if last or not unsent or isinstance(error, TimeoutError):
                    raise self.failure(f"{method} {path}", error) from error
                if refused:
                    await asyncio.sleep(RETRY_PAUSE)
        if not 200 <= response.status <= 299:
            try:
                raise await self._refusal(response, f"{method} {path}", hide)
            finally:
                response.close()
        if is_compressed(response.headers.get("Content-Encoding")):
            response.close()
            raise self.wrong(f"{method} {path}", "its answer is compressed, against the request")
        return response

    def _join(self, path: str) -> URL:
        """``path`` below the peer's address, whose query stays behind it."""
        whole = self._base.raw_path.rstrip("/") + path
        return self._base.with_path(whole, encoded=True, keep_query=True)

    def linger(self, response: aiohttp.ClientResponse) -> None:
        """Let ``response``, whose content is no longer needed, end by itself.

        Most end at once and leave their connection for the next call; one that does not end
        within ``LINGER`` is closed.
        """
        if not response.content.is_eof():
            loop = asyncio.get_running_loop()
            self._lingering[response] = loop.call_later(LINGER, self._settle, response)
            response.content.on_eof(lambda: self._settle(response))

    def _settle(self, response: aiohttp.ClientResponse) -> None:
        if (timer := self._lingering.pop(response, None)) is not None:
            timer.cancel()
            response.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                auto_decompress=False,
                # Callers bound everything beyond the connection: aiohttp's own limits would set
                # and cancel a timer for every read.
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_timeout),
            )
        return self._session

    async def _refusal(
        self, response: aiohttp.ClientResponse, call: str, hide: str
    ) -> OperatorError:
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
        seconds = retry_after(response.headers.get("Retry-After", ""))
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
        if isinstance(error, aiohttp.ClientResponseError):  # its text has the whole address
            reason = f"{type(error).__name__}: {error.message}"
        else:
            reason = f"{type(error).__name__}: {error}"
        if isinstance(error, TimeoutError):
            connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
            return self.timed_out(call, "connect" if connecting else "read")
        reason = scrubbed(reason, self._secrets)
        log.warning("peer failed", peer=self.name, call=call, reason=reason)
        if _is_refused(error) or type(error) is aiohttp.ClientConnectionError:
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


def _is_refused(error: BaseException) -> bool:
    """True where no connection was made, so nothing was sent."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL)


async def read_bounded(
    response: aiohttp.ClientResponse, limit: int, *, cut: bool = False
) -> bytes | None:
    """Read the whole body; of a body beyond ``limit`` bytes its start where ``cut``, else None."""
    content = response.content
    body = await content.readany()
    if body and not content.at_eof():
        pieces = bytearray(body)
        while piece := await content.readany():
            pieces += piece
            if len(pieces) > limit:
                break
        body = bytes(pieces)
    if len(body) > limit:
        return body[:limit] if cut else None
    return body
