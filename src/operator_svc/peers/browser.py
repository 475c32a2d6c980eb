"""Client of the browser service, which opens untrusted pages in a process of its own.

A page that failed has an answer. A service that is away, or died with the page, has none, and
the page may be opened again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
import msgspec
import structlog

from operator_svc.background import aside
from operator_svc.errors import ErrorCode, OperatorError
from operator_svc.models import Json
from operator_svc.peers.failures import Failures, PeerLostError, retry_after
from operator_svc.peers.http_response import Response
from operator_svc.peers.time_limit import TimeLimit
from operator_svc.peers.transport import (
    PASSING,
    SAID_BYTES,
    SAID_TIMEOUT,
    Transport,
    read_bounded,
    vx11_headers,
)
from operator_svc.protocol.decoding import MAX_DEPTH, is_too_deep
from operator_svc.protocol.navigate import Visit
from operator_svc.protocol.text import loads, storable_json
from operator_svc.settings import Settings

log = structlog.get_logger(__name__)

NAME = "the browser service"
BROWSER = Failures(
    ErrorCode.PEER_ERROR,
    ErrorCode.BROWSER_UNAVAILABLE,
    ErrorCode.PEER_TIMEOUT,
    ErrorCode.RATE_LIMITED,
)
CONNECT_TIMEOUT = 3.0
GRACE = 10.0
"""Seconds beyond a page's own time after which the service is asked whether it still lives; it
may be busy with other pages before this one. Asked again as often as that."""
HEALTH_TIMEOUT = 5.0
MAX_ANSWER_BYTES = 32 * 2**20
MAX_SCREENSHOT_BYTES = 8 * 2**20
"""Twice what the service sends unless its setting says otherwise (BROWSER_SCREENSHOT_BYTES)."""
PNG = b"\x89PNG\r\n\x1a\n"


class BrowserAwayError(OperatorError):
    """Raised where the service is away, hangs or is about to stop: the page may not be open.

    ``answered`` is True where the service, or a proxy before it, answered.
    """

    def __init__(self, detail: str, *, answered: bool = False) -> None:
        super().__init__(ErrorCode.BROWSER_UNAVAILABLE, detail)
        self.answered = answered


class BrowserDiedError(OperatorError):
    """Raised where Chromium or the whole service died with the page open."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorCode.BROWSER_UNAVAILABLE, detail)


class BrowserBusyError(OperatorError):
    """Raised where the service's queue is full; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            ErrorCode.RATE_LIMITED, f"{NAME} has too much to do", retry_after=retry_after
        )


class _Problem(msgspec.Struct):
    error: str = ""
    cause: str = ""


class _BrowserTransport(Transport):
    """Transport that distinguishes the service's refusals."""

    async def _refusal(self, response: Response, call: str, hide: str) -> OperatorError:
        status = response.status
        if status != 429 and status not in PASSING:
            return await super()._refusal(response, call, hide)
        if status == 429:
            seconds = retry_after(response.headers.get("retry-after", ""))
            return BrowserBusyError(1.0 if seconds is None else seconds)
        try:
            async with TimeLimit(SAID_TIMEOUT):
                body = await read_bounded(response, SAID_BYTES, cut=True) or b""
            said = msgspec.json.decode(body, type=_Problem)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, UnicodeDecodeError):
            said = _Problem()  # whoever it is: the service is not to be had
        log.warning("peer refused", peer=self.name, call=call, status=status, cause=said.cause)
        if said.cause == "died":
            return BrowserDiedError("Chromium died under the page")
        return BrowserAwayError(f"{NAME} answered with HTTP status {status}", answered=True)

    def timed_out(self, call: str, limit: str) -> OperatorError:
        """The error for a limit of time that passed: a service that is too slow is away."""
        super().timed_out(call, limit)
        return BrowserAwayError(f"{NAME} did not answer in time ({limit})")


class Browser:
    """Opens pages, each within its own time, any number at once."""

    def __init__(self, url: str, token: str = "") -> None:
        self._transport = _BrowserTransport(
            NAME, url, vx11_headers(token), BROWSER, CONNECT_TIMEOUT
        )
        self.grace = GRACE

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def navigate(self, url: str, options: Mapping[str, Json], seconds: float) -> Visit:
        """Open ``url``, which may take ``seconds``, when its turn comes; cancelling stops it.
        All text of the visit is storable.

        Raises BrowserAwayError, BrowserDiedError, BrowserBusyError, PeerRefusedError where the
        service does not take the request, and OperatorError(peer_error) for nonsense.
        """
        body = msgspec.json.encode({"url": url, **options})
        try:
            async with asyncio.timeout(None) as clock:
                watch = asyncio.create_task(self._watch(clock, seconds))
                try:
                    raw = await self._post(body, url)
                finally:
                    watch.cancel()
        except TimeoutError:
            raise self._transport.timed_out("POST /navigate", "total") from None
        if raw is None:
            raise self._transport.wrong("POST /navigate", "its answer is too large")
        return await aside(len(raw), lambda: self._read(raw))

    async def _post(self, body: bytes, url: str) -> bytes | None:
        try:
            response = await self._transport.open("POST", "/navigate", body, hide=url)
            try:
                return await read_bounded(response, MAX_ANSWER_BYTES)
            finally:
                response.close()
        except aiohttp.ClientError as error:
            raise BrowserDiedError(f"{NAME} broke off its answer") from error
        except PeerLostError as error:
            if error.code is ErrorCode.BROWSER_UNAVAILABLE:
                raise BrowserAwayError(error.detail) from error
            raise BrowserDiedError(error.detail) from error

    async def _watch(self, clock: asyncio.Timeout, seconds: float) -> None:
        """End the call once the service no longer answers its health check."""
        alive, pause = True, seconds + self.grace
        while alive:
            await asyncio.sleep(pause)
            alive, pause = await self.alive(), self.grace
        clock.reschedule(asyncio.get_running_loop().time())

    async def alive(self) -> bool:
        """True where the service answers, be it only that it has no browser now."""
        try:
            async with TimeLimit(HEALTH_TIMEOUT):
                (await self._transport.open("GET", "/health")).close()
        except BrowserAwayError as error:
            return error.answered
        except (OperatorError, TimeoutError):
            return False
        return True

    def _read(self, raw: bytes) -> Visit:
        try:
            plain = loads(raw)
            if not isinstance(plain, dict):
                raise ValueError("it is no object")
            faults = []
            if is_too_deep(plain.get("script_result")):
                plain["script_result"] = None
                faults.append(f"the script's result is nested deeper than {MAX_DEPTH} levels")
            visit = msgspec.convert(storable_json(plain), Visit)
            picture = visit.screenshot
            if picture is not None and not picture.startswith(PNG):
                raise ValueError("the screenshot is no PNG")
            if picture is not None and len(picture) > MAX_SCREENSHOT_BYTES:
                picture = None
                faults.append("the screenshot is too large")
        except (ValueError, msgspec.ValidationError, RecursionError) as fault:
            raise self._transport.wrong(
                "POST /navigate", "its answer makes no sense", str(fault), raw
            ) from fault
        error = "; ".join(filter(None, (visit.error, *faults))) or None
        return msgspec.structs.replace(visit, screenshot=picture, error=error)


def make_browser(settings: Settings) -> Browser | None:
    """The browser service of ``settings``; None where none is configured."""
    if not settings.browser_url:
        return None
    token = settings.browser_token or settings.token
    return Browser(settings.browser_url, token)
