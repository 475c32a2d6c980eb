"""Answers of peers that a test gives without a server, by the methods of aioresponses."""

from __future__ import annotations

from asyncio import Transport
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Self
from unittest.mock import MagicMock, patch

from aioresponses import aioresponses
from yarl import URL

from operator_svc.peers.http_client import HttpClient
from operator_svc.peers.http_response import Response

_SESSION: Any = SimpleNamespace(closed=False, headers=None, _build_url=URL)
"""As much of aiohttp's session as aioresponses looks at."""


class PeerAnswers(aioresponses):
    """aioresponses for the calls of the service, which are sent by an HttpClient."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        super().start()

        async def send(
            client: HttpClient,
            method: str,
            target: str,
            headers: Mapping[str, str],
            body: bytes | None,
        ) -> Response:
            sent = {**client.headers, **headers}
            url = client.url.join(URL(target, encoded=True))
            answer = await self._request_mock(
                _SESSION, method, url, data=body, headers=sent, allow_redirects=False
            )
            return _response(answer.status, answer.headers, await answer.read())

        self._sending = patch.object(HttpClient, "send", send)
        self._sending.start()

    def stop(self) -> None:
        self._sending.stop()
        super().stop()


def _response(status: int, headers: Mapping[str, str], body: bytes) -> Response:
    """A response that has come whole."""
    others = "".join(
        f"{name}: {value}\r\n"
        for name, value in headers.items()
        if name.lower() not in ("content-length", "transfer-encoding")
    )
    response = Response(MagicMock(Transport), lambda _: None)
    head = f"HTTP/1.1 {status} Any\r\n{others}Content-Length: {len(body)}\r\n\r\n"
    response.feed(head.encode() + body)
    return response
