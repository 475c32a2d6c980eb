"""The HTTP connections of a client, and its calls with their retries."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec

from operator_client.errors import ClientError, no_operator, reason, refusal
from operator_client.event_stream import ServerSentEvent, events_of, lines_of

T = TypeVar("T")
Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A token, or a function that gives the one to use now, as for tokens that expire."""

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
TOKEN_HEADER = "X-VX11-Token"  # noqa: S105 - the name of a header
TRIES = 5
"""Attempts of a call that may be tried again."""
PAUSE = 0.25
"""Seconds before the second attempt; doubled for each further one."""
LONGEST_PAUSE = 30.0
"""Seconds that a client waits at most where Operator asks it to."""
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)
"""A reply may take minutes; a stream that is alive sends a comment every heartbeat."""


class Call(NamedTuple):
    """A call. Of ``query`` and ``headers`` what is None is not sent. ``again`` says that it may be
    tried again where it is not known what became of it. ``media`` is the type of its answer."""

    method: str
    path: str
    query: Mapping[str, Any] = {}
    headers: Mapping[str, Any] = {}
    body: msgspec.Struct | Mapping[str, Any] | None = None
    again: bool = True
    media: str = JSON


class ClientConnection:
    """The connections to Operator at ``url``, open between ``open`` and ``aclose``."""

    def __init__(self, url: str, token: Token) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        self._shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Prepare for calls; nothing is connected yet."""
        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(_refuse_redirect)
        self._session = aiohttp.ClientSession(timeout=TIMEOUT, trace_configs=[tracing])

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

    @property
    def renews_tokens(self) -> bool:
        """True where a refused token may have a successor."""
        return callable(self._token)

    async def token_header(self) -> dict[str, str]:
        """The header that carries the token, if there is one."""
        token = self._token() if callable(self._token) else self._token
        if inspect.isawaitable(token):
            token = await token
        return {TOKEN_HEADER: token} if token else {}

    def unreachable(self, error: Exception, *, retryable: bool = False) -> ClientError:
        """The error of a service that does not answer."""
        detail = f"Operator cannot be reached at {self._shown}: {reason(error)}"
        return ClientError("unreachable", detail, retryable=retryable)

    async def call(self, kind: type[T], call: Call, *, tries: int = TRIES) -> T:
        """The answer, decoded. Raises ClientError."""
        return await self.call_either({}, call, otherwise=kind, tries=tries)

    async def call_either(
        self,
        kinds: Mapping[int, type[T]],
        call: Call,
        *,
        otherwise: type[T],
        tries: int = TRIES,
    ) -> T:
        """The answer, decoded as its status says. Raises ClientError."""
        status, content = await self._tried(call, tries)
        try:
            return msgspec.json.decode(content, type=kinds.get(status, otherwise))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise no_operator(self._shown, status, {}) from error

    async def content(self, call: Call) -> bytes:
        """The answer as it comes. Raises ClientError."""
        _, content = await self._tried(call, TRIES)
        return content

    async def events(self, call: Call) -> AsyncIterator[ServerSentEvent]:
        """The events of a stream, until it ends. Raises ClientError."""
        headers = {**call.headers, "Accept": EVENT_STREAM}
        call = call._replace(headers=headers, media=EVENT_STREAM)
        async with self._answer(call) as answer:
            async for event in events_of(answer.content.iter_any()):
                yield event

    async def records(self, call: Call) -> AsyncIterator[Any]:
        """The lines of JSON of an answer, decoded. Raises ClientError."""
        async with self._answer(call) as answer:
            async for line in lines_of(answer.content.iter_any()):
                yield msgspec.json.decode(line)

    async def _tried(self, call: Call, tries: int) -> tuple[int, bytes]:
        pause = PAUSE
        for left in range(tries - 1, -1, -1):
            try:
                async with self._answer(call) as answer:
                    return answer.status, await answer.read()
            except ClientError as error:
                # 429: Operator has not begun with it.
                if not left or not error.retryable or not (call.again or error.status == 429):
                    raise
                asked = min(error.retry_after or 0, LONGEST_PAUSE)
            await asyncio.sleep(max(asked, jitter(pause)))
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    @contextlib.asynccontextmanager
    async def _answer(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        data = None if call.body is None else msgspec.json.encode(call.body)
        headers = {name: str(value) for name, value in _given(call.headers).items()}
        headers |= await self.token_header()
        if data is not None:
            headers["Content-Type"] = JSON
        query = urlencode({name: text(value) for name, value in _given(call.query).items()})
        try:
            # A redirect would take the token to another host.
            async with self.session.request(
                call.method,
                self.url + call.path + (f"?{query}" if query else ""),
                data=data,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                if answer.status >= 300:
                    content = await answer.read()
                    raise refusal(answer.status, answer.headers, content, self._shown)
                if answer.status != HTTPStatus.NO_CONTENT and _media_of(answer) != call.media:
                    raise no_operator(self._shown, answer.status, {})
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.unreachable(error, retryable=True) from error


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _context: object, found: aiohttp.TraceRequestRedirectParams
) -> None:
    """End a handshake that is redirected: ``ws_connect`` would take the token to another host."""
    answer = found.response
    raise aiohttp.WSServerHandshakeError(
        answer.request_info, (), status=answer.status, headers=answer.headers
    )


def _media_of(answer: aiohttp.ClientResponse) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].rstrip().lower()


def jitter(pause: float) -> float:
    """A pause of about so many seconds, so that clients do not come back all at once."""
    return pause * random.uniform(0.5, 1.5)  # noqa: S311 - no secret


def new_key() -> str:
    """An idempotency key."""
    return uuid.uuid4().hex


def streamed(body: msgspec.Struct | Mapping[str, Any]) -> dict[str, Any]:
    """A body that asks for a stream."""
    fields: dict[str, Any] = msgspec.to_builtins(body)
    return {**fields, "stream": True}


def segment(value: object) -> str:
    """A value as one segment of a path."""
    return quote(str(value), safe="")


def text(value: Any) -> str:
    """A value of a query."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
